// Choices on their way to hosts, and what came of the last ones.

import type { Fleet, RolloutReport } from "../api/client";
import { useRolling, useRollouts } from "../api/fleet";
import { useMayChange } from "../api/session";
import { useWords } from "../words";
import { Failure } from "./Notice";

/** Those that are over, and still shown. */
const SHOWN = 3;

export function Rollouts({ fleet }: { fleet: Fleet }) {
  const { words } = useWords();
  const rollouts = useRollouts();
  const rolling = useRolling();
  const mayChange = useMayChange();
  const all = rollouts.data?.rollouts ?? [];
  const on = all.filter(goesOn);
  const over = all.filter((rollout) => !goesOn(rollout)).slice(0, SHOWN);
  if (all.length === 0) return null;
  return (
    <section className="card stack">
      <h3>{words.rollouts.title}</h3>
      <Failure error={rolling.steer.error} />
      <ul className="plain-list">
        {[...on, ...over].map((rollout) => (
          <li key={rollout.id} className="stack">
            <One rollout={rollout} fleet={fleet} />
            {mayChange && goesOn(rollout) && (
              <span className="buttons">
                {(rollout.paused ? (["resume", "abort"] as const) : (["pause", "abort"] as const)).map(
                  (steer) => (
                    <button
                      key={steer}
                      type="button"
                      disabled={rolling.steer.isPending}
                      onClick={() => rolling.steer.mutate({ id: rollout.id, steer })}
                    >
                      {words.rollouts[steer]}
                    </button>
                  ),
                )}
              </span>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function goesOn({ stage }: RolloutReport): boolean {
  return stage === "canary" || stage === "all";
}

function One({ rollout, fleet }: { rollout: RolloutReport; fleet: Fleet }) {
  const { words, moment } = useWords();
  const group = fleet.groups.find(({ id }) => id === rollout.group);
  const tenant = fleet.tenants.find(({ id }) => id === rollout.tenant);
  const { mode, countries } = rollout.settings;
  const others = rollout.canaries_in_all - rollout.canaries.length;
  const canaries = others > 0 ? [...rollout.canaries, words.fleet.more(others)] : rollout.canaries;
  const unnamed = rollout.lost_in_all - rollout.lost.length;
  return (
    <div>
      <strong>{group?.name ?? tenant?.name}</strong>:{" "}
      {mode && countries ? words.fleet.chosen(mode, countries.join(" ")) : words.fleet.asAbove}{" "}
      {words.rollouts.stages[rollout.stage](rollout.applied ?? 0, rollout.hosts, canaries.join(", "))}{" "}
      {rollout.paused && <em>{words.rollouts.paused}</em>}{" "}
      <span className="quiet">
        {rollout.operator}, {moment(rollout.began)}
      </span>
      {rollout.why && <p className="doubt">{rollout.why}</p>}
      {rollout.lost.map(({ id, host, what }) => (
        <p key={id} className="doubt">
          {host}: {what}
        </p>
      ))}
      {unnamed > 0 && <p className="doubt">{words.fleet.more(unnamed)}</p>}
    </div>
  );
}
