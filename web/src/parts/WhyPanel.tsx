// What happens to an address, and why; and the ways to let it in.

import { useEffect, useRef } from "react";
import type { Change } from "../api/client";
import { type SpanName, spanNames, TRIAL, useOrder, useRecording, useStatus, useWhy } from "../api/host";
import { useMayChange } from "../api/session";
import { useWords } from "../words";
import { Code } from "./Code";
import { Failure, Loaded } from "./Notice";

interface Panel {
  address: string;
  say: (said: string) => void;
  close: () => void;
}

export function WhyPanel({ address, say, close }: Panel) {
  const { words, country, number } = useWords();
  const why = useWhy(address);
  const mayChange = useMayChange();
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  const letIn = (said: string) => {
    say(said);
    dialog.current?.close();
  };
  return (
    <dialog ref={dialog} className="card stack" onClose={close} aria-labelledby="why">
      <h2 id="why">{words.why.title(address)}</h2>
      <Loaded query={why}>
        {(why) => (
          <>
            <p className={why.verdict === "drop" ? "dropped" : "passed"}>
              {why.verdict ? words.why[why.verdict] : words.why.undecided}
              {why.reason && `: ${words.reasons[why.reason]}`}
            </p>
            <dl className="facts-list">
              <dt>{words.live.country}</dt>
              <dd>
                <Code code={why.country} /> {country(why.country)}
              </dd>
              <dt>{words.why.sources}</dt>
              <dd>{why.sources.map((opinion) => `${opinion.source}: ${opinion.country}`).join(", ")}</dd>
              <dt>{words.why.prefix}</dt>
              <dd>{why.prefix}</dd>
              <dt>{words.why.network}</dt>
              <dd>
                {[why.asn && `AS${why.asn}`, why.as_name].filter(Boolean).join(" ")}
                {[
                  why.hosting && words.why.hosting,
                  why.disputed && words.why.disputed,
                  why.reserved && words.why.reserved,
                ]
                  .filter(Boolean)
                  .map((fact) => ` · ${fact}`)}
              </dd>
            </dl>
            {why.seen && (
              <p className="quiet">{words.why.packets(number(why.seen.dropped), number(why.seen.passed))}</p>
            )}
          </>
        )}
      </Loaded>
      {mayChange && <LetIn address={address} done={letIn} />}
      {mayChange && why.data && <Country code={why.data.country} done={() => dialog.current?.close()} />}
      <form method="dialog">
        <button type="submit">{words.common.close}</button>
      </form>
    </dialog>
  );
}

function LetIn({ address, done }: { address: string; done: (said: string) => void }) {
  const { words } = useWords();
  const { add } = useRecording("exemptions");
  const letIn = (span: SpanName) =>
    add.mutate(
      { target: address, span },
      { onSuccess: () => done(words.live.exempted(address, words.live[span])) },
    );
  return (
    <fieldset className="letting">
      <legend>{words.live.exempt}</legend>
      <span className="buttons">
        {spanNames.map((name) => (
          <button type="button" key={name} disabled={add.isPending} onClick={() => letIn(name)}>
            {words.live[name]}
          </button>
        ))}
      </span>
      <Failure error={add.error} />
    </fieldset>
  );
}

/** All of its country, on trial as any other change. */
function Country({ code, done }: { code: string; done: () => void }) {
  const { words, country } = useWords();
  const status = useStatus();
  const order = useOrder();
  const policy = status.data;
  if (policy?.state !== "enforcing" || code === "ZZ") return null;
  const out = policy.countries.includes(code) === (policy.mode === "block");
  if (!out) return null;
  const edit = policy.mode === "allow" ? "add" : "remove";
  const change: Change = { mode: policy.mode, countries: [code], edit };
  const letIn = () => order.mutate({ to: "enforce", change, within: TRIAL }, { onSuccess: done });
  return (
    <div className="stack">
      <button type="button" disabled={order.isPending} onClick={letIn}>
        {words.live.letInCountry(country(code))}
      </button>
      <Failure error={order.error} />
    </div>
  );
}
