// The world data of the fleet: what hosts pull from this portal, and how far each host is with it.

import type { Fleet } from "../api/client";
import { useMayChange, useSession } from "../api/session";
import { useFleetWorld, useFleetWorldDeed, type WorldDeed } from "../api/world";
import { useWords } from "../words";
import { Failure, Note } from "./Notice";

export function FleetWorld() {
  const { words, edition, moment } = useWords();
  const { data: world } = useFleetWorld();
  const deed = useFleetWorldDeed();
  const mayChange = useMayChange();
  const isAdmin = useSession().data?.role === "admin";
  if (!world?.serves) return null;
  const { current, previous, held, running, last } = world;
  const button = (of: WorldDeed, text: string, main = false) => (
    <button
      type="button"
      className={main ? "main" : undefined}
      disabled={deed.isPending}
      onClick={() => deed.mutate(of)}
    >
      {text}
    </button>
  );
  const date = current?.data.sources[0]?.date;
  return (
    <section className="card stack">
      <h3>{words.fleetWorld.title}</h3>
      <p>{date ? words.fleetWorld.serves(edition(date)) : words.fleetWorld.nothing}</p>
      {held && (
        <Note kind="warn">
          <p>{words.fleetWorld.held}</p>
          <ul>
            {held.reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
          {isAdmin && button("approve", words.fleetWorld.approve, true)}
        </Note>
      )}
      <p className="quiet" role="status">
        {running ? words.fleetWorld.running : last && words.geodata.outcome[last.outcome](moment(last.time))}
      </p>
      {last?.outcome === "failed" && last.why && <p className="doubt">{last.why}</p>}
      <Failure error={deed.error} />
      <div className="buttons">
        {mayChange && world.fetches && !running && button("update", words.fleetWorld.update)}
        {isAdmin && previous && button("rollback", words.fleetWorld.rollback)}
      </div>
    </section>
  );
}

type World = NonNullable<Fleet["groups"][number]["hosts"][number]["world"]>;

/** What a host has. */
export function HostWorld({ world }: { world: World }) {
  const { words, edition } = useWords();
  const { date, progress, why } = world;
  return (
    <>
      {date && edition(date)}
      <p className={progress === "held" || progress === "older" ? "doubt" : "quiet"}>
        {words.fleetWorld.far[progress]}
      </p>
      {why && <p className="doubt">{why}</p>}
    </>
  );
}
