// The fleet: groups of hosts that one choice is for, and how far each host is with it.

import { type FormEvent, useId, useState } from "react";
import { useProfiles } from "../api/choices";
import type { Fleet as FleetReport, Risk } from "../api/client";
import { useFleet, useLeading } from "../api/fleet";
import { useStatus } from "../api/host";
import { useMayChange, useSession } from "../api/session";
import { choice, drafted, inForce } from "../policy";
import { useWords } from "../words";
import { Copied } from "./Copied";
import { FleetWorld, HostWorld } from "./FleetWorld";
import { Failure, Note } from "./Notice";

type Group = FleetReport["groups"][number];
type Host = Group["hosts"][number];
type Leading = ReturnType<typeof useLeading>;

export function Fleet() {
  const { words } = useWords();
  const fleet = useFleet();
  const leading = useLeading();
  const mayChange = useMayChange();
  const isAdmin = useSession().data?.role === "admin";
  // Where the portal hears no hosts, and never did, there is nothing to say.
  if (!fleet.data?.address) return null;
  return (
    <section className="stack">
      <h2>{words.fleet.title}</h2>
      <p className="quiet">{words.fleet.about(fleet.data.address)}</p>
      <Failure
        error={leading.choose.error ?? leading.invite.error ?? leading.rebase.error ?? leading.revoke.error}
      />
      {fleet.data.groups.some((group) => group.hosts.some((host) => host.ahead)) && (
        <Note kind="warn">
          <p>{words.fleet.ahead}</p>
          {isAdmin && (
            <button type="button" onClick={() => leading.rebase.mutate()}>
              {words.fleet.rebase}
            </button>
          )}
        </Note>
      )}
      {leading.invite.data && (
        <Note>
          <p>{words.fleet.invited}</p>
          <Copied text={leading.invite.data.command} />
        </Note>
      )}
      {fleet.data.groups.map((group) => (
        <One key={group.id} group={group} leading={mayChange ? leading : undefined} />
      ))}
      {mayChange && <NewGroup add={leading.add} />}
      <FleetWorld />
    </section>
  );
}

function One({ group, leading }: { group: Group; leading: Leading | undefined }) {
  const { words, moment } = useWords();
  const { policy } = group;
  const since = new Date(group.revision * 1000).toISOString();
  const risks = new Set(group.hosts.flatMap((host) => host.risks));
  return (
    <section className="card stack">
      <h3>{group.name}</h3>
      <p>
        {policy ? words.fleet.chosen(policy.mode, policy.countries.join(" ")) : words.fleet.free}{" "}
        <span className="quiet">{policy && words.fleet.since(moment(since))}</span>
      </p>
      {group.hosts.length > 0 && <Table hosts={group.hosts} leading={leading} />}
      {leading && policy && risks.size > 0 && (
        <Accept group={group} policy={policy} risks={[...risks]} leading={leading} />
      )}
      {leading && <Choosing group={group} leading={leading} />}
    </section>
  );
}

function Table({ hosts, leading }: { hosts: Host[]; leading: Leading | undefined }) {
  const { words, number, moment } = useWords();
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
          <tr key={host.id}>
            <th scope="row">{host.name}</th>
            <td>
              <small>{words.fleet.progress}</small>
              {words.fleet.far[host.progress]}
              {host.refused && <p className="doubt">{host.refused}</p>}
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
            <td>
              {leading && (
                <button
                  type="button"
                  aria-label={words.fleet.revokeOne(host.name)}
                  onClick={() => leading.revoke.mutate(host.id)}
                >
                  {words.fleet.revoke}
                </button>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

interface Accepted {
  group: Group;
  policy: NonNullable<Group["policy"]>;
  risks: Risk[];
  leading: Leading;
}

/** Hosts refused: they name what would have to be accepted, and all hosts of the group are then taken to accept it. */
function Accept({ group, policy, risks, leading }: Accepted) {
  const { words } = useWords();
  const same = choice(drafted(policy));
  const accept = [...new Set([...(policy.accept ?? []), ...risks])];
  return (
    <button type="button" onClick={() => leading.choose.mutate({ id: group.id, choice: same, accept })}>
      {words.fleet.accept(risks.join(", "))}
    </button>
  );
}

/** What hosts are to do is what this host does, or a profile. */
function Choosing({ group, leading }: { group: Group; leading: Leading }) {
  const { words } = useWords();
  const { data: status } = useStatus();
  const { data } = useProfiles();
  const [from, setFrom] = useState("");
  const of = useId();
  const profile = data?.profiles.find(({ id }) => String(id) === from);
  const own = status && choice(inForce(status));
  const chosen = from === "own" ? own : profile?.choice;
  return (
    <div className="buttons">
      <label htmlFor={of}>{words.fleet.choose(group.name)}</label>
      <select id={of} value={from} onChange={(event) => setFrom(event.target.value)}>
        <option value="">{words.fleet.nothing}</option>
        {own && own.countries.length > 0 && <option value="own">{words.fleet.own}</option>}
        {data?.profiles.map(({ id, name }) => (
          <option key={id} value={id}>
            {name}
          </option>
        ))}
      </select>
      <button
        type="button"
        className="main"
        disabled={!chosen || leading.choose.isPending}
        onClick={() => chosen && leading.choose.mutate({ id: group.id, choice: chosen, accept: [] })}
      >
        {words.fleet.tell}
      </button>
      <button
        type="button"
        aria-label={words.fleet.inviteTo(group.name)}
        disabled={leading.invite.isPending}
        onClick={() => leading.invite.mutate(group.id)}
      >
        {words.fleet.invite}
      </button>
    </div>
  );
}

function NewGroup({ add }: { add: Leading["add"] }) {
  const { words } = useWords();
  const name = useId();
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    add.mutate(String(new FormData(form).get("name")).trim(), { onSuccess: () => form.reset() });
  };
  return (
    <form className="adding" onSubmit={submit}>
      <div>
        <label htmlFor={name}>{words.fleet.group}</label>
        <input id={name} name="name" required maxLength={64} autoComplete="off" />
      </div>
      <button type="submit" disabled={add.isPending}>
        {words.fleet.add}
      </button>
      <Failure error={add.error} />
    </form>
  );
}
