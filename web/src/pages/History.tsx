// Which policies were in force, whoever chose them; and the way back to one of them.

import { useState } from "react";
import { Link } from "wouter";
import { type PastPolicy, Refused, type Risk } from "../api/client";
import { useStatus } from "../api/host";
import { useHistory, useRestore } from "../api/past";
import { useMayChange } from "../api/session";
import { Code } from "../parts/Code";
import { Failure, Loaded, Warnings } from "../parts/Notice";
import { Risks } from "../parts/Risks";
import { useWords } from "../words";

/** Policies that are shown at first, and how many more each time. */
const SOME = 20;
/** Countries that are listed one by one. */
const LISTED = 40;

export function History() {
  const { words } = useWords();
  const [limit, setLimit] = useState(SOME);
  const history = useHistory(limit);
  return (
    <div className="stack">
      <p>
        <Link href="/">{words.history.back}</Link>
      </p>
      <h1>{words.history.title}</h1>
      <p className="quiet">{words.history.about}</p>
      <Loaded query={history}>
        {({ policies }) => (
          <>
            {policies.length === 0 && <p className="quiet empty">{words.history.empty}</p>}
            <ol className="plain-list past">
              {policies.map((past) => (
                <li key={past.id} className="card stack">
                  <Past past={past} />
                </li>
              ))}
            </ol>
            {policies.length === limit && (
              <button type="button" onClick={() => setLimit(limit + SOME)}>
                {words.history.more}
              </button>
            )}
          </>
        )}
      </Loaded>
    </div>
  );
}

function Past({ past }: { past: PastPolicy }) {
  const { words, moment } = useWords();
  const status = useStatus();
  const mayChange = useMayChange();
  const { mode, countries, hosting } = past.policy;
  return (
    <>
      <h2>
        {past.stance === "observe" ? words.history.observed : words.history[mode](countries.length)}
        {past.stance === "enforce" && hosting === "drop" && ` · ${words.history.hosting}`}
      </h2>
      <p>
        {words.history.began(moment(past.began), past.operator ?? words.history.host)}
        {" · "}
        <Ending past={past} />
      </p>
      <Difference past={past} />
      {countries.length > 0 && (
        <details className="groups">
          <summary>{words.policy.chosen(countries.length)}</summary>
          <Countries codes={countries} />
        </details>
      )}
      {mayChange && past.ended && past.stance === "enforce" && status.data?.state !== "pending" && (
        <Restore id={past.id} />
      )}
    </>
  );
}

function Ending({ past: { ended, ending, kept } }: { past: PastPolicy }) {
  const { words, moment } = useWords();
  if (!ended || !ending) return kept ? words.history.inForce : words.history.trial;
  return words.history.endings[ending](moment(ended));
}

function Difference({ past: { added, removed, settings } }: { past: PastPolicy }) {
  const { words } = useWords();
  if (added.length + removed.length + settings.length === 0) return null;
  return (
    <dl className="facts-list">
      {added.length > 0 && (
        <>
          <dt>{words.history.added}</dt>
          <dd>
            <Countries codes={added} />
          </dd>
        </>
      )}
      {removed.length > 0 && (
        <>
          <dt>{words.history.removed}</dt>
          <dd>
            <Countries codes={removed} />
          </dd>
        </>
      )}
      {settings.map(({ name, before, after }) => (
        <Setting key={name} name={name} before={before} after={after} />
      ))}
    </dl>
  );
}

function Setting({ name, before, after }: PastPolicy["settings"][number]) {
  const { words } = useWords();
  const names: Record<string, string> = words.history.settings;
  const values: Record<string, string> = words.history.values;
  const said = (value: string) => values[value] ?? (value || words.history.nothing);
  return (
    <>
      <dt>{names[name] ?? name}</dt>
      <dd>{words.history.setting(said(before), said(after))}</dd>
    </>
  );
}

function Countries({ codes }: { codes: readonly string[] }) {
  const { words } = useWords();
  return (
    <span className="codes">
      {codes.slice(0, LISTED).map((code) => (
        <Code key={code} code={code} />
      ))}
      {codes.length > LISTED && ` ${words.preview.more(codes.length - LISTED)}`}
    </span>
  );
}

function Restore({ id }: { id: number }) {
  const { words } = useWords();
  const restore = useRestore();
  const [accepted, accept] = useState<Risk[]>([]);
  const problem = restore.error instanceof Refused ? restore.error.problem : undefined;
  const risks = problem?.risks ?? [];
  const all = risks.every((risk) => accepted.includes(risk));
  return (
    <>
      {problem && risks.length > 0 ? (
        <Risks problem={problem} accepted={accepted} accept={accept} />
      ) : (
        <Failure error={restore.error} />
      )}
      <Warnings of={restore.data?.warnings ?? []} />
      <button
        type="button"
        disabled={restore.isPending || !all}
        onClick={() => restore.mutate({ id, accept: accepted })}
      >
        {words.history.restore}
      </button>
    </>
  );
}
