// Who may do what here: operators, and the tokens of programs.

import { type FormEvent, useId } from "react";
import type { Role } from "../api/client";
import { useFleet } from "../api/fleet";
import { useOperator, useOperators, useToken, useTokens } from "../api/people";
import { useSession } from "../api/session";
import { Copied } from "../parts/Copied";
import { Failure, Loaded, Note } from "../parts/Notice";
import { useWords } from "../words";

const ROLES: Role[] = ["viewer", "operator", "admin"];
/** Days that a token is good for, unless said otherwise. */
const DAYS = 90;

export function Operators() {
  const { words, moment } = useWords();
  const operators = useOperators();
  const session = useSession();
  const { add, set, endTotp, remove } = useOperator();
  return (
    <section className="card stack">
      <h2>{words.people.operators}</h2>
      <Failure error={set.error ?? endTotp.error ?? remove.error} />
      <Loaded query={operators}>
        {({ operators }) => (
          <ul className="plain-list">
            {operators.map(({ name, role, created, totp, tenant }) => (
              <li key={name}>
                <strong>{name}</strong> ·{" "}
                <span className="quiet">
                  {words.people.since(moment(created))}
                  {tenant && ` · ${tenant}`}
                  {totp && ` · ${words.factor.with}`}
                </span>{" "}
                {name === session.data?.operator ? (
                  <em>{words.settings.roles[role]}</em>
                ) : (
                  <span className="buttons">
                    <select
                      aria-label={words.people.roleOf(name)}
                      value={role}
                      onChange={(event) => set.mutate({ name, role: event.target.value as Role })}
                    >
                      <Roles />
                    </select>
                    {totp && (
                      <button type="button" onClick={() => endTotp.mutate(name)}>
                        {words.factor.end}
                      </button>
                    )}
                    <button type="button" onClick={() => remove.mutate(name)}>
                      {words.common.remove}
                    </button>
                  </span>
                )}
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      <NewOperator add={add} />
    </section>
  );
}

function Roles() {
  const { words } = useWords();
  return ROLES.map((role) => (
    <option key={role} value={role}>
      {words.settings.roles[role]}
    </option>
  ));
}

function NewOperator({ add }: { add: ReturnType<typeof useOperator>["add"] }) {
  const { words } = useWords();
  const [name, password, role, whose] = [useId(), useId(), useId(), useId()];
  const { data: fleet } = useFleet();
  const tenants = fleet?.tenants ?? [];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const text = (field: string) => String(data.get(field));
    const body = {
      name: text("name").trim(),
      password: text("password"),
      role: text("role") as Role,
      tenant: Number(data.get("tenant")) || null,
    };
    add.mutate(body, { onSuccess: () => form.reset() });
  };
  return (
    <form className="adding" onSubmit={submit}>
      <div>
        <label htmlFor={name}>{words.people.name}</label>
        <input id={name} name="name" required maxLength={64} autoComplete="off" />
      </div>
      <div>
        <label htmlFor={password}>{words.people.password}</label>
        <input
          id={password}
          name="password"
          type="password"
          minLength={12}
          required
          autoComplete="new-password"
        />
      </div>
      <div>
        <label htmlFor={role}>{words.people.role}</label>
        <select id={role} name="role" defaultValue="operator">
          <Roles />
        </select>
      </div>
      {tenants.length > 1 && (
        <div>
          <label htmlFor={whose}>{words.tenants.whose}</label>
          <select id={whose} name="tenant" defaultValue="">
            <option value="">{words.tenants.whole}</option>
            {tenants.map(({ id, name }) => (
              <option key={id} value={id}>
                {name}
              </option>
            ))}
          </select>
        </div>
      )}
      <button type="submit" disabled={add.isPending}>
        {words.people.add}
      </button>
      <Failure error={add.error} />
    </form>
  );
}

export function Tokens() {
  const { words, moment } = useWords();
  const tokens = useTokens();
  const { make, revoke } = useToken();
  return (
    <section className="card stack">
      <h2>{words.people.tokens}</h2>
      <p className="quiet">{words.people.tokensSay}</p>
      <Failure error={revoke.error} />
      {make.data && (
        <Note>
          <p>{words.people.made(make.variables.name)}</p>
          <Copied text={make.data.token} />
        </Note>
      )}
      <Loaded query={tokens}>
        {({ tokens }) => (
          <ul className="plain-list">
            {tokens.map((token) => (
              <li key={token.id}>
                <strong>{token.name}</strong> · {words.settings.roles[token.role]} · {token.operator} ·{" "}
                <span className="quiet">
                  {token.expires ? words.travel.ends(moment(token.expires)) : words.common.forever} ·{" "}
                  {token.used ? words.settings.used(moment(token.used)) : words.people.unused}
                </span>{" "}
                <button type="button" onClick={() => revoke.mutate(token.id)}>
                  {words.people.revoke}
                </button>
              </li>
            ))}
          </ul>
        )}
      </Loaded>
      <NewToken make={make} />
    </section>
  );
}

function NewToken({ make }: { make: ReturnType<typeof useToken>["make"] }) {
  const { words } = useWords();
  const [name, role, days] = [useId(), useId(), useId()];
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const good = Number(data.get("days"));
    const body = {
      name: String(data.get("name")).trim(),
      role: data.get("role") as Role,
      days: good || null,
    };
    make.mutate(body, { onSuccess: () => form.reset() });
  };
  return (
    <form className="adding" onSubmit={submit}>
      <div>
        <label htmlFor={name}>{words.people.purpose}</label>
        <input id={name} name="name" required maxLength={64} />
      </div>
      <div>
        <label htmlFor={role}>{words.people.mayDo}</label>
        <select id={role} name="role" defaultValue="viewer">
          <Roles />
        </select>
      </div>
      <div>
        <label htmlFor={days}>{words.people.days}</label>
        <input id={days} name="days" type="number" min={1} max={3650} defaultValue={DAYS} />
      </div>
      <button type="submit" disabled={make.isPending}>
        {words.people.make}
      </button>
      <Failure error={make.error} />
    </form>
  );
}
