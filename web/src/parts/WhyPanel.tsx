// What happens to an address, and why.

import { useEffect, useRef } from "react";
import { useWhy } from "../api/host";
import { useWords } from "../words";
import { Code } from "./Code";
import { Loaded } from "./Notice";

export function WhyPanel({ address, close }: { address: string; close: () => void }) {
  const { words, country, number } = useWords();
  const why = useWhy(address);
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
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
      <form method="dialog">
        <button type="submit">{words.common.close}</button>
      </form>
    </dialog>
  );
}
