// The hosts of a group, a line each.

import type { Fleet } from "../api/client";
import type { useLeading } from "../api/fleet";
import { useWords } from "../words";
import { Choosing } from "./Choosing";
import { HostWorld } from "./FleetWorld";

type Group = Fleet["groups"][number];
type Host = Group["hosts"][number];
type Leading = ReturnType<typeof useLeading>;

interface Hosts {
  hosts: Host[];
  /** Where they could be moved. */
  others: Group[];
  leading: Leading | undefined;
}

export function FleetHosts({ hosts, others, leading }: Hosts) {
  const { words } = useWords();
  return (
    <table className="hosts">
      <thead>
        <tr>
          <th scope="col">{words.hosts.host}</th>
          <th scope="col">{words.fleet.progress}</th>
          <th scope="col">{words.fleet.dropped}</th>
          <th scope="col">{words.fleet.heard}</th>
          <th scope="col">{words.hosts.data}</th>
          <th scope="col">
            <span className="unseen">{words.fleet.revoke}</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {hosts.map((host) => (
          <Line key={host.id} host={host} others={others} leading={leading} />
        ))}
      </tbody>
    </table>
  );
}

function Line({ host, others, leading }: { host: Host; others: Group[]; leading: Leading | undefined }) {
  const { words, number, moment } = useWords();
  return (
    <tr>
      <th scope="row">
        {host.name}
        {host.served && (
          <p className="quiet small">{words.hosts.known(host.served.phones, host.served.trunks)}</p>
        )}
      </th>
      <td>
        <small>{words.fleet.progress}</small>
        {words.fleet.far[host.progress]}
        {host.refused && <p className="doubt">{host.refused}</p>}
        {host.alone?.own.countries && host.alone.own.mode && (
          <p className="quiet">
            {words.fleet.alone(words.fleet.chosen(host.alone.own.mode, host.alone.own.countries.join(" ")))}
          </p>
        )}
        {host.progress === "drifted" && <Drift host={host} leading={leading} />}
      </td>
      <td>
        <small>{words.fleet.dropped}</small>
        {typeof host.dropped === "number" ? number(host.dropped) : "–"}
      </td>
      <td>
        <small>{words.fleet.heard}</small>
        {host.connected ? words.fleet.connected : words.fleet.away}
        {!host.connected && host.reported && (
          <p className="quiet">{words.fleet.last(moment(host.reported))}</p>
        )}
        {typeof host.clock === "number" && (
          <p className="doubt">{words.fleet.clock(number(Math.abs(host.clock)), host.clock > 0)}</p>
        )}
      </td>
      <td>
        <small>{words.hosts.data}</small>
        {host.world && <HostWorld world={host.world} />}
      </td>
      <td>{leading && <Deeds host={host} others={others} leading={leading} />}</td>
    </tr>
  );
}

/** Somebody changed it there: that is what is chosen for this host from now on, or it does again what it is told. */
function Drift({ host, leading }: { host: Host; leading: Leading | undefined }) {
  const { words } = useWords();
  const { instead } = host;
  return (
    <>
      {instead && <p>{words.fleet.instead(words.fleet.chosen(instead.mode, instead.countries.join(" ")))}</p>}
      {leading && (
        <span className="buttons">
          {instead && (
            <button
              type="button"
              aria-label={words.fleet.acceptDriftOf(host.name)}
              onClick={() => leading.settle.mutate({ id: host.id, drift: "accept" })}
            >
              {words.fleet.acceptDrift}
            </button>
          )}
          <button
            type="button"
            aria-label={words.fleet.overwriteOf(host.name)}
            onClick={() => leading.settle.mutate({ id: host.id, drift: "overwrite" })}
          >
            {words.fleet.overwrite}
          </button>
        </span>
      )}
    </>
  );
}

function Deeds({ host, others, leading }: { host: Host; others: Group[]; leading: Leading }) {
  const { words } = useWords();
  return (
    <details className="groups">
      <summary aria-label={words.fleet.moreOf(host.name)}>{words.nav.more}</summary>
      <div className="stack">
        <Choosing target={{ host: host.id }} name={host.name} own={host.alone != null} leading={leading} />
        {others.length > 0 && (
          <label>
            {words.fleet.move}{" "}
            <select
              value=""
              onChange={(event) => leading.move.mutate({ id: host.id, group: Number(event.target.value) })}
            >
              <option value="">{words.fleet.nothing}</option>
              {others.map(({ id, name }) => (
                <option key={id} value={id}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
        <button
          type="button"
          aria-label={words.fleet.revokeOne(host.name)}
          onClick={() => leading.revoke.mutate(host.id)}
        >
          {words.fleet.revoke}
        </button>
      </div>
    </details>
  );
}
