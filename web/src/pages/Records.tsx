// Who passes or is dropped whatever their country.

import { type FormEvent, useId, useState } from "react";
import type { RecordReport } from "../api/client";
import { type Kind, usePeers, useRecording, useRecords } from "../api/host";
import { useSession } from "../api/session";
import { Failure, Loaded, Note } from "../parts/Notice";
import { useWords } from "../words";

export function Exemptions() {
  return (
    <div className="stack">
      <Records kind="exemptions" />
      <Peers />
    </div>
  );
}

export function Bans() {
  return <Records kind="bans" />;
}

function Records({ kind }: { kind: Kind }) {
  const { words } = useWords();
  const records = useRecords(kind);
  const { end } = useRecording(kind);
  const mayChange = useSession().data?.role !== "viewer";
  return (
    <section className="stack">
      <h1>{words.records[kind]}</h1>
      <p className="quiet">{kind === "bans" ? words.records.bansSay : words.records.exemptionsSay}</p>
      {mayChange && <New kind={kind} />}
      <Failure error={end.error} />
      {end.isSuccess && <Note>{words.records.ended(end.variables)}</Note>}
      <Loaded query={records}>
        {({ records }) =>
          records.length === 0 ? (
            <p className="quiet empty">{words.records.empty}</p>
          ) : (
            <div className="scrolls">
              <table>
                <thead>
                  <tr>
                    <th scope="col">{words.live.address}</th>
                    <th scope="col">{words.records.until}</th>
                    <th scope="col">{words.records.origin}</th>
                    <th scope="col">{words.records.note}</th>
                    {mayChange && <th scope="col">{words.live.actions}</th>}
                  </tr>
                </thead>
                <tbody>
                  {records.map((record) => (
                    <Listed
                      key={`${record.target} ${record.origin}`}
                      record={record}
                      end={mayChange ? end.mutate : undefined}
                    />
                  ))}
                </tbody>
              </table>
            </div>
          )
        }
      </Loaded>
    </section>
  );
}

interface Line {
  record: RecordReport;
  end: ((target: string) => void) | undefined;
}

function Listed({ record, end }: Line) {
  const { words, moment, span } = useWords();
  return (
    <tr>
      <th scope="row" className="address">
        {record.target}
      </th>
      <td>
        {record.until && moment(record.until)}
        {record.remaining !== null && record.remaining !== undefined && (
          <small className="quiet"> {words.records.left(span(record.remaining))}</small>
        )}
        {!record.until && words.common.forever}
      </td>
      <td>{words.records.origins[record.origin]}</td>
      <td>{record.note}</td>
      {end && (
        <td>
          <button type="button" onClick={() => end(record.target)}>
            {words.common.remove}
          </button>
        </td>
      )}
    </tr>
  );
}

const spans = { hour: 3_600, day: 86_400, good: undefined };

function New({ kind }: { kind: Kind }) {
  const { words } = useWords();
  const { add } = useRecording(kind);
  const [target, span, note] = [useId(), useId(), useId()];
  const [chosen, choose] = useState<keyof typeof spans>("day");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const seconds = spans[chosen];
    add.mutate(
      {
        target: String(data.get("target")).trim(),
        note: String(data.get("note")),
        ...(seconds !== undefined && { seconds }),
      },
      { onSuccess: () => form.reset() },
    );
  };
  return (
    <form className="card adding" onSubmit={submit}>
      <div>
        <label htmlFor={target}>{kind === "bans" ? words.records.banTarget : words.records.target}</label>
        <input id={target} name="target" required spellCheck={false} autoCapitalize="off" />
      </div>
      <div>
        <label htmlFor={span}>{words.records.span}</label>
        <select
          id={span}
          value={chosen}
          onChange={(event) => choose(event.target.value as keyof typeof spans)}
        >
          <option value="hour">{words.live.hour}</option>
          <option value="day">{words.live.day}</option>
          <option value="good">{words.live.good}</option>
        </select>
      </div>
      <div>
        <label htmlFor={note}>{words.records.note}</label>
        <input id={note} name="note" maxLength={200} />
      </div>
      <button type="submit" className="main" disabled={add.isPending}>
        {words.common.add}
      </button>
      <Failure error={add.error} />
      {add.data?.warnings.map((warning) => (
        <Note kind="warn" key={warning}>
          {warning}
        </Note>
      ))}
    </form>
  );
}

function Peers() {
  const { words, span } = useWords();
  const peers = usePeers();
  return (
    <section className="stack">
      <h2>{words.records.peers}</h2>
      <p className="quiet">{words.records.peersSay}</p>
      <Loaded query={peers}>
        {({ peers }) =>
          peers.length === 0 ? (
            <p className="quiet empty">{words.records.empty}</p>
          ) : (
            <ul className="plain-list">
              {peers.map((peer) => (
                <li key={peer.peer}>
                  <span className="address">{peer.peer}</span>
                  {peer.remaining !== null && peer.remaining !== undefined && (
                    <small className="quiet"> {words.records.left(span(peer.remaining))}</small>
                  )}
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </section>
  );
}
