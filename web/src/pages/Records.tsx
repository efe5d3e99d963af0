// Who passes or is dropped whatever their country.

import { type FormEvent, useId, useState } from "react";
import type { RecordReport } from "../api/client";
import { type Kind, type SpanName, spanNames, usePeers, useRecording, useRecords } from "../api/host";
import { useMayChange } from "../api/session";
import { Failure, Loaded, Note, Warnings } from "../parts/Notice";
import { SharedBans } from "../parts/SharedBans";
import { Travellers } from "../parts/Travellers";
import { useWords } from "../words";

export function Exemptions() {
  const mayChange = useMayChange();
  return (
    <div className="stack">
      <Records kind="exemptions" />
      {mayChange && <Travellers />}
      <Peers />
    </div>
  );
}

export function Bans() {
  return (
    <div className="stack">
      <Records kind="bans" />
      <SharedBans />
    </div>
  );
}

function Records({ kind }: { kind: Kind }) {
  const { words } = useWords();
  const records = useRecords(kind);
  const { end } = useRecording(kind);
  const mayChange = useMayChange();
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
  const { words, moment } = useWords();
  return (
    <tr>
      <th scope="row" className="address">
        {record.target}
      </th>
      <td>
        {record.until && moment(record.until)}
        <Left seconds={record.remaining} />
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

function New({ kind }: { kind: Kind }) {
  const { words } = useWords();
  const { add } = useRecording(kind);
  const [target, span, note] = [useId(), useId(), useId()];
  const [chosen, choose] = useState<SpanName>("day");
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const data = new FormData(form);
    const target = String(data.get("target")).trim();
    add.mutate({ target, note: String(data.get("note")), span: chosen }, { onSuccess: () => form.reset() });
  };
  return (
    <form className="card adding" onSubmit={submit}>
      <div>
        <label htmlFor={target}>{kind === "bans" ? words.records.banTarget : words.records.target}</label>
        <input id={target} name="target" required spellCheck={false} autoCapitalize="off" />
      </div>
      <div>
        <label htmlFor={span}>{words.records.span}</label>
        <select id={span} value={chosen} onChange={(event) => choose(event.target.value as SpanName)}>
          {spanNames.map((name) => (
            <option key={name} value={name}>
              {words.live[name]}
            </option>
          ))}
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
      <Warnings of={add.data?.warnings ?? []} />
    </form>
  );
}

function Left({ seconds }: { seconds?: number | null | undefined }) {
  const { words, span } = useWords();
  if (seconds === null || seconds === undefined) return null;
  return <small className="quiet"> {words.records.left(span(seconds))}</small>;
}

function Peers() {
  const { words } = useWords();
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
                  <Left seconds={peer.remaining} />
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </section>
  );
}
