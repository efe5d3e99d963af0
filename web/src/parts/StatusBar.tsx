// Am I protected? In one sentence, with the way out; and while a change is on trial, how long it still is.

import { useState } from "react";
import type { Changed, Status } from "../api/client";
import { TRIAL, useHosts, useOrder, useStatus } from "../api/host";
import { useLive } from "../api/live";
import { useMayChange } from "../api/session";
import { useWords } from "../words";
import { Failure, Note, Warnings } from "./Notice";
import { Sentence, useLeft } from "./Sentence";

export function StatusBar() {
  const { words, time } = useWords();
  const status = useStatus();
  const live = useLive();
  const order = useOrder();
  const [proof, setProof] = useState<Changed>();
  const open = status.data?.state === "off" || status.data?.state === "observing";
  const away = open ? words.status.awayOpen : words.status.away;
  const unwell = live.heard ? live.away && away : words.status.unheard;
  return (
    <header className="bar">
      {status.data && <State status={status.data} order={order} off={setProof} />}
      {unwell && (
        <p className="notice warn" role="alert">
          {unwell}
        </p>
      )}
      {live.wentBack && !unwell && <Note kind="warn">{words.status.wentBack(time(live.wentBack))}</Note>}
      <Warnings of={status.data?.warnings ?? []} />
      <Failure error={order.error} />
      {proof && <Proof changed={proof} close={() => setProof(undefined)} />}
    </header>
  );
}

interface Telling {
  status: Status;
  order: ReturnType<typeof useOrder>;
  off: (changed: Changed) => void;
}

function State({ status, order, off }: Telling) {
  const { words, number, edition } = useWords();
  const hosts = useHosts();
  const mayChange = useMayChange();
  const attached = status.attachments.map((at) => `${at.interface} ${at.kind}`).join(", ");
  const facts = [
    attached,
    status.data.sources[0] && words.status.data(edition(status.data.sources[0].date)),
    (status.pbx?.devices ?? 0) > 0 && words.status.devices(status.pbx?.devices ?? 0),
    (status.counts?.exemptions ?? 0) > 0 && words.status.exempt(status.counts?.exemptions ?? 0),
    (status.counts?.bans ?? 0) > 0 && words.status.banned(status.counts?.bans ?? 0),
  ].filter(Boolean);
  return (
    <div className={`state ${status.state}`}>
      <strong className="host">{hosts.data?.hosts[0]?.name}</strong>
      <span className="sentence">
        <i className="mark" aria-hidden="true" />
        <Sentence status={status} />
      </span>
      <span className="facts quiet" title={number(status.generation)}>
        {facts.join(" · ")}
      </span>
      {mayChange && status.state === "pending" && <Trial status={status} order={order} />}
      {mayChange && status.state !== "pending" && status.state !== "off" && <Off order={order} off={off} />}
    </div>
  );
}

function Trial({ status, order }: Omit<Telling, "off">) {
  const { words } = useWords();
  // The one that is shown here, and no later one of somebody else.
  const generation = status.generation;
  const left = useLeft();
  return (
    <>
      <span className="buttons">
        <button
          type="button"
          className="main"
          disabled={order.isPending}
          onClick={() => order.mutate({ to: "confirm", generation })}
        >
          {words.status.keep}
        </button>
        <button
          type="button"
          disabled={order.isPending}
          onClick={() => order.mutate({ to: "revert", generation })}
        >
          {words.status.goBack}
        </button>
      </span>
      <progress max={TRIAL} value={Math.min(TRIAL, left)} aria-label={words.status.pendingEnd} />
      <p className="quiet wide">{words.status.pendingEnd}</p>
    </>
  );
}

function Off({ order, off }: Omit<Telling, "status">) {
  const { words } = useWords();
  const [asked, setAsked] = useState(false);
  if (!asked)
    return (
      <button type="button" className="off" onClick={() => setAsked(true)}>
        {words.status.turnOff}
      </button>
    );
  const turnOff = () => order.mutate({ to: "off" }, { onSuccess: off, onSettled: () => setAsked(false) });
  return (
    <span className="buttons wide">
      <span>{words.status.turnOffSays}</span>
      <button type="button" className="danger" disabled={order.isPending} onClick={turnOff}>
        {words.status.turnOffNow}
      </button>
      <button type="button" onClick={() => setAsked(false)}>
        {words.common.cancel}
      </button>
    </span>
  );
}

function Proof({ changed, close }: { changed: Changed; close: () => void }) {
  const { words, number } = useWords();
  const proof = changed.proof;
  if (!proof) return null;
  return (
    <Note kind={proof.clean ? "good" : "warn"}>
      <p>
        <strong>{proof.clean ? words.status.clean : words.status.remains}</strong>{" "}
        {proof.clean && words.status.turnedOff}
      </p>
      {proof.clean && (
        <ul className="inline">
          {Object.entries(proof.compared).map(([what, parts]) => (
            <li key={what}>
              {what}: {number(parts)}
            </li>
          ))}
        </ul>
      )}
      <List items={proof.remains} />
      {proof.changed_by_others.length > 0 && <p>{words.status.others}</p>}
      <List items={proof.changed_by_others} />
      <button type="button" onClick={close}>
        {words.common.close}
      </button>
    </Note>
  );
}

function List({ items }: { items: string[] }) {
  return (
    items.length > 0 && (
      <ul>
        {items.map((item) => (
          <li key={item}>{item}</li>
        ))}
      </ul>
    )
  );
}
