// What a choice would do, before it is made, and the button that makes it, on trial.

import type { UseQueryResult } from "@tanstack/react-query";
import { useState } from "react";
import { type Preview, Refused, type Risk, type Status } from "../api/client";
import { TRIAL, useOrder } from "../api/host";
import { change, type Draft } from "../policy";
import { useWords } from "../words";
import { Code } from "./Code";
import { Failure, Note, Warnings } from "./Notice";
import { Risks } from "./Risks";

/** How many of those who would be cut are named. */
const NAMED = 5;

interface Shown {
  status: Status;
  draft: Draft;
  isNew: boolean;
  preview: UseQueryResult<Preview>;
  mayChange: boolean;
  undo: () => void;
}

export function Consequences({ status, draft, isNew, preview, mayChange, undo }: Shown) {
  const { words } = useWords();
  return (
    <aside className="card consequences stack" aria-labelledby="consequences">
      <h2 id="consequences">{words.preview.title}</h2>
      {draft.countries.size === 0 && <p className="quiet">{words.preview.empty}</p>}
      {draft.countries.size > 0 && preview.data && (
        <div className={preview.isFetching ? "stack stale" : "stack"} aria-live="polite">
          <Told preview={preview.data} />
        </div>
      )}
      {preview.error && <Failure error={preview.error} />}
      {!isNew && <p className="quiet">{words.policy.asInForce}</p>}
      {isNew && (status.time_boxes ?? []).length > 0 && (
        <Note kind="warn">
          {words.preview.boxes((status.time_boxes ?? []).map((box) => box.country).join(", "))}
        </Note>
      )}
      {isNew && mayChange && status.state !== "pending" && draft.countries.size > 0 && (
        <Apply key={told(draft)} draft={draft} status={status} />
      )}
      {isNew && status.generation > 0 && draft.countries.size > 0 && (
        <button type="button" className="plain" onClick={undo}>
          {words.policy.undo}
        </button>
      )}
    </aside>
  );
}

/** A risk is accepted for one choice, and asked for anew for another. */
function told({ mode, hosting, countries }: Draft): string {
  return [mode, hosting, ...[...countries].sort()].join(" ");
}

function Told({ preview }: { preview: Preview }) {
  const { words, number, share, moment, country } = useWords();
  const { packets, addresses, since, would_cut, kept, selection, unknown } = preview;
  const cut = (would_cut ?? []).filter((one) => !one.already);
  return (
    <>
      {packets && packets.total > 0 && (
        <p className="figure">
          {words.preview.stops(share(packets.dropped, packets.total))}
          <small>
            {words.preview.stopsSources(number(addresses.dropped), number(addresses.total))}
            {since && `, ${words.preview.since(moment(since))}`}
          </small>
        </p>
      )}
      <Warnings of={preview.warnings ?? []} />
      {cut.length === 0 && (preview.warnings ?? []).length === 0 && (
        <p className="passed">{words.preview.cutsNone}</p>
      )}
      {cut.length > 0 && (
        <div className="would-drop">
          <p>{words.preview.cuts(cut.length)}</p>
          <ul>
            {cut.slice(0, NAMED).map((one) => (
              <li key={`${one.address} ${one.what}`}>
                <Code code={one.country} /> {one.what} ({one.address}, {country(one.country)})
              </li>
            ))}
          </ul>
          {cut.length > NAMED && <p>{words.preview.more(cut.length - NAMED)}</p>}
        </div>
      )}
      <ul className="quiet small">
        {kept && kept.phones + kept.trunks > 0 && <li>{words.preview.kept(kept.phones, kept.trunks)}</li>}
        {selection && selection.addresses > 0 && (
          <li>{words.preview.disputed(share(selection.disputed, selection.addresses))}</li>
        )}
        {unknown && unknown.total > 0 && <li>{words.preview.unknown(number(unknown.total))}</li>}
      </ul>
    </>
  );
}

function Apply({ draft, status }: { draft: Draft; status: Status }) {
  const { words } = useWords();
  const order = useOrder();
  const [accepted, accept] = useState<Risk[]>([]);
  const problem = order.error instanceof Refused ? order.error.problem : undefined;
  const risks = problem?.type === "urn:geofilter:risky" ? (problem.risks ?? []) : [];
  const all = risks.every((risk) => accepted.includes(risk));
  const apply = () => {
    order.mutate({ to: "enforce", change: change(draft, status, accepted), within: TRIAL });
  };
  return (
    <div className="apply stack">
      {problem && risks.length > 0 && <Risks problem={problem} accepted={accepted} accept={accept} />}
      {risks.length === 0 && <Failure error={order.error} />}
      <button type="button" className="main" disabled={order.isPending || !all} onClick={apply}>
        {order.isPending
          ? words.preview.applying
          : risks.length > 0
            ? words.preview.applyAnyway
            : words.preview.apply}
      </button>
      <p className="quiet small">{words.preview.applySays}</p>
    </div>
  );
}
