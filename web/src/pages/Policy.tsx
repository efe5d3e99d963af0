// Whom to let in: chosen on the left, what that would do on the right, applied on trial.

import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Link } from "wouter";
import { old } from "../age";
import { keepDraft, useKeptDraft } from "../api/choices";
import type { Countries, Choice as PolicyChoice, Status, Written } from "../api/client";
import { useCountries, useOrder, usePreview, useSeen, useStatus } from "../api/host";
import { useMayChange } from "../api/session";
import { Consequences } from "../parts/Consequences";
import { CountryPicker } from "../parts/CountryPicker";
import { Modes } from "../parts/Modes";
import { Failure, Loaded, Note } from "../parts/Notice";
import { Profiles } from "../parts/Profiles";
import { change, choice, type Draft, drafted, inForce, same } from "../policy";
import { useWords } from "../words";

/** How long nothing is chosen before it is asked what it would do, in milliseconds. */
const SETTLES = 250;
/** Seconds of a pause. */
const PAUSE = 600;

export function Policy() {
  const status = useStatus();
  const countries = useCountries();
  const kept = useKeptDraft();
  const again = async () => (await kept.refetch()).data?.draft;
  return (
    <Loaded query={status}>
      {(status) => (
        <Loaded query={countries}>
          {(countries) => (
            <Loaded query={kept}>
              {({ draft }) => <Choice status={status} countries={countries} kept={draft} again={again} />}
            </Loaded>
          )}
        </Loaded>
      )}
    </Loaded>
  );
}

interface Kept {
  status: Status;
  countries: Countries;
  kept: Written | null | undefined;
  again: () => Promise<Written | null | undefined>;
}

function Choice({ status, countries, kept, again }: Kept) {
  const { words, moment } = useWords();
  const now = useMemo(() => inForce(status), [status]);
  const [draft, setDraft] = useState(() => (kept ? drafted(kept.choice) : now));
  const [settled, setSettled] = useState(draft);
  const [known, setKnown] = useState(kept);
  const packets = usePackets();
  const isNew = !same(draft, now) || status.state === "observing" || status.state === "off";
  const preview = usePreview(settled.countries.size > 0 ? change(settled, status) : undefined);
  const mayChange = useMayChange();
  const keeping = useKeeping(mayChange);
  const choose = (draft: Draft) => {
    setDraft(draft);
    setKnown(undefined);
    keeping.keep(same(draft, now) ? undefined : choice(draft));
  };
  const read = async () => {
    const kept = await again();
    setKnown(kept);
    setDraft(kept ? drafted(kept.choice) : now);
  };

  useEffect(() => {
    const timer = setTimeout(() => setSettled(draft), SETTLES);
    return () => clearTimeout(timer);
  }, [draft]);
  // Somebody else's change, or one that went back, is what is in force here too, unless somebody is choosing.
  const first = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: only when another generation is in force
  useEffect(() => {
    if (!first.current) read();
    first.current = false;
  }, [status.generation]);

  return (
    <div className="policy">
      <div className="stack">
        <div className="filters">
          <h1>{words.policy.title}</h1>
          <Link href="/history">{words.history.title}</Link>
        </div>
        <Standing
          status={status}
          packets={packets}
          mayChange={mayChange}
          previewed={draft.countries.size > 0}
        />
        {known && !same(draft, now) && (
          <Note kind="warn">{words.policy.draft(known.operator, moment(known.time))}</Note>
        )}
        <p className="quiet small" role="status">
          {keeping.kept && !known && words.policy.kept}
        </p>
        <Failure error={keeping.error} />
        <Modes draft={draft} set={choose} hosting={draft.mode === "allow"} />
        <Profiles draft={draft} status={status} set={choose} imported={read} />
        <CountryPicker countries={countries} draft={draft} set={choose} packets={packets} />
      </div>
      <Consequences
        status={status}
        draft={draft}
        isNew={isNew}
        preview={preview}
        mayChange={mayChange}
        undo={() => choose(now)}
      />
    </div>
  );
}

/** Has the portal keep what is being chosen, once it has settled, or when the page is left. */
function useKeeping(mayChange: boolean) {
  const waiting = useRef<{ choice: PolicyChoice | undefined }>(undefined);
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const [error, setError] = useState<unknown>();
  const [kept, setKept] = useState(false);
  const send = useCallback(() => {
    clearTimeout(timer.current);
    const told = waiting.current;
    waiting.current = undefined;
    const done = (error: unknown) => {
      setError(error);
      setKept(!error && told?.choice !== undefined);
    };
    if (told) keepDraft(told.choice).then(() => done(undefined), done);
  }, []);
  useEffect(() => {
    addEventListener("pagehide", send);
    return () => {
      removeEventListener("pagehide", send);
      send();
    };
  }, [send]);
  const keep = (choice: PolicyChoice | undefined) => {
    if (!mayChange) return;
    waiting.current = { choice };
    setKept(false);
    clearTimeout(timer.current);
    timer.current = setTimeout(send, SETTLES);
  };
  return { keep, kept, error };
}

/** Packets of each country that was seen. */
function usePackets(): ReadonlyMap<string, number> {
  const seen = useSeen();
  return useMemo(() => {
    const countries = seen.data?.countries ?? [];
    return new Map(countries.map(({ country, passed, dropped }) => [country, passed + dropped]));
  }, [seen.data]);
}

interface Standing {
  status: Status;
  packets: ReadonlyMap<string, number>;
  mayChange: boolean;
  /** Whether it is said elsewhere what a choice would do, and what is not known of that. */
  previewed: boolean;
}

function Standing({ status, packets, mayChange, previewed }: Standing) {
  const { words, number, edition } = useWords();
  const order = useOrder();
  const seen = useSeen();
  const dated = old(status, Date.now());
  const enforced = status.state === "enforcing" || status.state === "pending";
  return (
    <div className="standing">
      <p>
        {enforced ? words.policy.protected(status.mode === "allow") : words.policy.unprotected}{" "}
        {packets.size > 0
          ? words.policy.seen(number(seen.data?.known ?? 0), number(packets.size))
          : words.policy.seenNone}
      </p>
      {!mayChange && <p className="quiet">{words.common.notAllowed}</p>}
      {!status.pbx && !previewed && status.state !== "off" && <Note kind="warn">{words.status.noPbx}</Note>}
      {dated && <Note kind="warn">{words.status.oldData(edition(dated.date), dated.days)}</Note>}
      {mayChange && status.state !== "observing" && status.state !== "pending" && (
        <p className="deed">
          <button type="button" disabled={order.isPending} onClick={() => order.mutate({ to: "observe" })}>
            {words.policy.observe}
          </button>
          <span className="quiet">{words.policy.observeSays}</span>
        </p>
      )}
      {mayChange && status.state === "enforcing" && (
        <p className="deed">
          <button
            type="button"
            disabled={order.isPending}
            onClick={() => order.mutate({ to: "pause", seconds: PAUSE })}
          >
            {words.policy.pause}
          </button>
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
