// Whom to let in: chosen on the left, what that would do on the right, applied on trial.

import { useEffect, useMemo, useState } from "react";
import type { Countries, Status } from "../api/client";
import { useCountries, useOrder, usePreview, useSources, useStatus } from "../api/host";
import { useMayChange } from "../api/session";
import { Consequences } from "../parts/Consequences";
import { CountryPicker } from "../parts/CountryPicker";
import { Failure, Loaded } from "../parts/Notice";
import { change, type Draft, inForce, same } from "../policy";
import { useWords } from "../words";

/** How long nothing is chosen before it is asked what it would do, in milliseconds. */
const SETTLES = 250;
/** Seconds of a pause. */
const PAUSE = 600;

export function Policy() {
  const status = useStatus();
  const countries = useCountries();
  return (
    <Loaded query={status}>
      {(status) => (
        <Loaded query={countries}>{(countries) => <Choice status={status} countries={countries} />}</Loaded>
      )}
    </Loaded>
  );
}

function Choice({ status, countries }: { status: Status; countries: Countries }) {
  const { words } = useWords();
  const now = useMemo(() => inForce(status), [status]);
  const [draft, setDraft] = useState(now);
  const [settled, setSettled] = useState(draft);
  const packets = usePackets();
  const isNew = !same(draft, now) || status.state === "observing" || status.state === "off";
  const preview = usePreview(settled.countries.size > 0 ? change(settled, status) : undefined);
  const mayChange = useMayChange();

  useEffect(() => {
    const timer = setTimeout(() => setSettled(draft), SETTLES);
    return () => clearTimeout(timer);
  }, [draft]);
  // Somebody else's change, or one that went back, is what is in force here too.
  // biome-ignore lint/correctness/useExhaustiveDependencies: only when another generation is in force
  useEffect(() => setDraft(now), [status.generation]);

  return (
    <div className="policy">
      <div className="stack">
        <h1>{words.policy.title}</h1>
        <Standing status={status} packets={packets} mayChange={mayChange} />
        <Modes draft={draft} set={setDraft} />
        <CountryPicker countries={countries} draft={draft} set={setDraft} packets={packets} />
      </div>
      <Consequences
        status={status}
        draft={draft}
        isNew={isNew}
        preview={preview}
        mayChange={mayChange}
        undo={() => setDraft(now)}
      />
    </div>
  );
}

/** Packets of each country that was seen. */
function usePackets(): ReadonlyMap<string, number> {
  const sources = useSources();
  return useMemo(() => {
    const packets = new Map<string, number>();
    for (const { country, passed, dropped } of sources.data?.sources ?? [])
      packets.set(country, (packets.get(country) ?? 0) + passed + dropped);
    return packets;
  }, [sources.data]);
}

interface Standing {
  status: Status;
  packets: ReadonlyMap<string, number>;
  mayChange: boolean;
}

function Standing({ status, packets, mayChange }: Standing) {
  const { words, number } = useWords();
  const order = useOrder();
  const sources = useSources();
  const enforced = status.state === "enforcing" || status.state === "pending";
  return (
    <div className="standing">
      <p>
        {enforced ? words.policy.protected(status.mode === "allow") : words.policy.unprotected}{" "}
        {packets.size > 0
          ? words.policy.seen(number(sources.data?.known ?? 0), number(packets.size))
          : words.policy.seenNone}
      </p>
      {mayChange && status.state !== "observing" && status.state !== "pending" && (
        <p>
          <button type="button" disabled={order.isPending} onClick={() => order.mutate({ to: "observe" })}>
            {words.policy.observe}
          </button>{" "}
          <span className="quiet">{words.policy.observeSays}</span>
        </p>
      )}
      {mayChange && status.state === "enforcing" && (
        <p>
          <button
            type="button"
            disabled={order.isPending}
            onClick={() => order.mutate({ to: "pause", seconds: PAUSE })}
          >
            {words.policy.pause}
          </button>{" "}
          <span className="quiet">{words.policy.pauseSays}</span>
        </p>
      )}
      {mayChange && status.state === "paused" && (
        <p>
          <button
            type="button"
            className="main"
            disabled={order.isPending}
            onClick={() => order.mutate({ to: "resume" })}
          >
            {words.policy.resume}
          </button>
        </p>
      )}
      <Failure error={order.error} />
    </div>
  );
}

function Modes({ draft, set }: { draft: Draft; set: (draft: Draft) => void }) {
  const { words } = useWords();
  return (
    <fieldset className="modes">
      <legend>{words.policy.mode}</legend>
      {(["allow", "block"] as const).map((mode) => (
        <label key={mode}>
          <input
            type="radio"
            name="mode"
            checked={draft.mode === mode}
            onChange={() => set({ ...draft, mode })}
          />
          {words.policy[mode]}
        </label>
      ))}
      {draft.mode === "allow" && (
        <label>
          <input
            type="checkbox"
            checked={draft.hosting}
            onChange={(event) => set({ ...draft, hosting: event.target.checked })}
          />
          <span>
            {words.policy.hosting} <small className="quiet">{words.policy.hostingSays}</small>
          </span>
        </label>
      )}
    </fieldset>
  );
}
