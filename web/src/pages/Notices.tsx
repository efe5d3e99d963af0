// Whom to tell of what when no page is open, by a webhook or by mail; and what they were told.

import { type FormEvent, useId, useState } from "react";
import type { NewRecipient, Occasion } from "../api/client";
import { useRecipient, useRecipients } from "../api/notices";
import { Failure, Loaded, Note } from "../parts/Notice";
import { useWords } from "../words";

const OCCASIONS = [
  "attempts-jump",
  "change-pending",
  "drift",
  "old-data",
  "agent-away",
] as const satisfies Occasion[];
const SECURITIES = ["tls", "starttls", "none"] as const;
const PORTS = { tls: 465, starttls: 587, none: 25 };
/** Deliveries that are shown. */
const SHOWN = 10;

export function Notices() {
  const { words, moment } = useWords();
  const recipients = useRecipients();
  const { add, remove, test } = useRecipient();
  return (
    <section className="card stack">
      <h2>{words.notices.title}</h2>
      <p className="quiet">{words.notices.about}</p>
      <Failure error={remove.error ?? test.error} />
      {test.isSuccess && <Note>{words.notices.tested}</Note>}
      <Loaded query={recipients}>
        {({ recipients, deliveries }) => (
          <>
            <ul className="plain-list">
              {recipients.map((recipient) => (
                <li key={recipient.id}>
                  <strong>{recipient.name}</strong> · {recipient.at} ·{" "}
                  <span className="quiet">
                    {recipient.wants.map((occasion) => words.notices.occasions[occasion]).join(", ")}
                  </span>{" "}
                  <span className="buttons">
                    <button type="button" disabled={test.isPending} onClick={() => test.mutate(recipient.id)}>
                      {words.notices.test}
                    </button>
                    <button type="button" onClick={() => remove.mutate(recipient.id)}>
                      {words.common.remove}
                    </button>
                  </span>
                </li>
              ))}
            </ul>
            {deliveries.length > 0 && (
              <ul className="plain-list small" aria-label={words.notices.lately}>
                {deliveries.slice(0, SHOWN).map((delivery) => (
                  <li key={`${delivery.time} ${delivery.recipient}`}>
                    {moment(delivery.time)} · {delivery.recipient} · {delivery.subject} ·{" "}
                    {delivery.error ? (
                      <span className="dropped">{delivery.error}</span>
                    ) : (
                      <span className="passed">{words.notices.delivered}</span>
                    )}
                  </li>
                ))}
              </ul>
            )}
          </>
        )}
      </Loaded>
      <New add={add} />
    </section>
  );
}

function New({ add }: { add: ReturnType<typeof useRecipient>["add"] }) {
  const { words } = useWords();
  const [kind, choose] = useState<"webhook" | "mail">("webhook");
  const [name, kindId] = [useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    add.mutate(recipient(kind, new FormData(form)), { onSuccess: () => form.reset() });
  };
  return (
    <form className="stack" onSubmit={submit}>
      <h3>{words.notices.add}</h3>
      <label htmlFor={name}>{words.notices.name}</label>
      <input id={name} name="name" required maxLength={64} />
      <label htmlFor={kindId}>{words.notices.how}</label>
      <select id={kindId} value={kind} onChange={(event) => choose(event.target.value as typeof kind)}>
        <option value="webhook">{words.notices.webhook}</option>
        <option value="mail">{words.notices.mail}</option>
      </select>
      {kind === "webhook" ? <Webhook /> : <Mail />}
      <fieldset className="stack">
        <legend>{words.notices.wants}</legend>
        {OCCASIONS.map((occasion) => (
          <label key={occasion}>
            <input type="checkbox" name="wants" value={occasion} defaultChecked />
            {words.notices.occasions[occasion]}
          </label>
        ))}
      </fieldset>
      <Failure error={add.error} />
      <button type="submit" disabled={add.isPending}>
        {words.common.add}
      </button>
    </form>
  );
}

function Webhook() {
  const { words } = useWords();
  const [url, secret] = [useId(), useId()];
  return (
    <>
      <label htmlFor={url}>{words.notices.url}</label>
      <input id={url} name="url" type="url" required placeholder="https://" />
      <label htmlFor={secret}>{words.notices.secret}</label>
      <input id={secret} name="secret" type="password" autoComplete="off" />
    </>
  );
}

function Mail() {
  const { words } = useWords();
  const [security, secure] = useState<(typeof SECURITIES)[number]>("tls");
  const [server, port, by, user, password, from, to] = [
    useId(),
    useId(),
    useId(),
    useId(),
    useId(),
    useId(),
    useId(),
  ];
  return (
    <>
      <label htmlFor={server}>{words.notices.server}</label>
      <input id={server} name="server" required spellCheck={false} />
      <label htmlFor={by}>{words.notices.security}</label>
      <select
        id={by}
        name="security"
        value={security}
        onChange={(event) => secure(event.target.value as typeof security)}
      >
        {SECURITIES.map((one) => (
          <option key={one} value={one}>
            {words.notices.securities[one]}
          </option>
        ))}
      </select>
      <label htmlFor={port}>{words.notices.port}</label>
      <input
        key={security}
        id={port}
        name="port"
        type="number"
        min={1}
        max={65535}
        defaultValue={PORTS[security]}
        required
      />
      <label htmlFor={user}>{words.notices.user}</label>
      <input id={user} name="user" autoComplete="off" />
      <label htmlFor={password}>{words.signIn.password}</label>
      <input
        id={password}
        name="password"
        type="password"
        autoComplete="off"
        disabled={security === "none"}
      />
      <label htmlFor={from}>{words.notices.from}</label>
      <input id={from} name="from" required placeholder="GeoFilter <pbx@example.net>" />
      <label htmlFor={to}>{words.notices.to}</label>
      <input id={to} name="to" required />
    </>
  );
}

/** What was filled in; what was left empty is not said. */
function recipient(kind: "webhook" | "mail", data: FormData): NewRecipient {
  const text = (name: string) => String(data.get(name) ?? "").trim();
  const optional = (name: string) => text(name) || null;
  const [name, wants] = [text("name"), data.getAll("wants") as Occasion[]];
  if (kind === "webhook")
    return { name, wants, target: { kind, url: text("url"), secret: optional("secret") } };
  const [server, from, to] = [text("server"), text("from"), text("to")];
  const security = text("security") as (typeof SECURITIES)[number];
  const [user, password] = [optional("user"), optional("password")];
  return {
    name,
    wants,
    target: { kind, server, port: Number(text("port")), security, user, password, from, to },
  };
}
