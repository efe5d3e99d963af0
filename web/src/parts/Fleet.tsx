// The fleet: organisations with groups of hosts that one choice is for, and how far each host is with it.

import { type FormEvent, useId } from "react";
import { Link } from "wouter";
import type { Fleet as FleetReport, Risk, TenantReport } from "../api/client";
import { useFleet, useLeading } from "../api/fleet";
import { useMayChange, useSession } from "../api/session";
import { useWords } from "../words";
import { Choosing } from "./Choosing";
import { Copied } from "./Copied";
import { FleetHosts } from "./FleetHosts";
import { FleetWorld } from "./FleetWorld";
import { Failure, Note } from "./Notice";
import { Rollouts } from "./Rollouts";

type Group = FleetReport["groups"][number];
type Leading = ReturnType<typeof useLeading>;

export function Fleet() {
  const { words } = useWords();
  const fleet = useFleet();
  const leading = useLeading();
  const mayChange = useMayChange();
  const session = useSession().data;
  const isAdmin = session?.role === "admin";
  const isOfOne = session?.tenant != null;
  // Where the portal hears no hosts, and never did, there is nothing to say.
  if (!fleet.data?.address) return null;
  const { tenants, groups, address } = fleet.data;
  const leads = mayChange ? leading : undefined;
  const failed = [
    leading.choose,
    leading.invite,
    leading.rebase,
    leading.revoke,
    leading.settle,
    leading.move,
  ];
  return (
    <section className="stack">
      <div className="filters">
        <h2>{words.fleet.title}</h2>
        <Link href="/report">{words.report.link}</Link>
      </div>
      <p className="quiet">{words.fleet.about(address)}</p>
      <Failure error={failed.find(({ error }) => error)?.error} />
      {groups.some((group) => group.hosts.some((host) => host.ahead)) && (
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
      <Rollouts fleet={fleet.data} />
      {tenants.map((tenant) => (
        <section key={tenant.id} className="stack">
          {(tenants.length > 1 || Object.keys(tenant.own).length > 0) && (
            <Tenant tenant={tenant} leading={leads} isAdmin={isAdmin} />
          )}
          {groups
            .filter((group) => group.tenant === tenant.id)
            .map((group) => (
              <One key={group.id} group={group} groups={groups} leading={leads} />
            ))}
          {leads && (
            <Named
              label={words.fleet.group}
              submit={words.fleet.add}
              add={(name, onSuccess) => leads.add.mutate({ name, tenant: tenant.id }, { onSuccess })}
              error={leads.add.error}
            />
          )}
        </section>
      ))}
      {isAdmin && (
        <details className="groups">
          <summary>{words.tenants.title}</summary>
          <div className="stack">
            <p className="quiet">{words.tenants.about}</p>
            <Named
              label={words.tenants.name}
              submit={words.tenants.add}
              add={(name, onSuccess) => leading.addTenant.mutate(name, { onSuccess })}
              error={leading.addTenant.error}
            />
          </div>
        </details>
      )}
      {!isOfOne && <FleetWorld />}
    </section>
  );
}

interface OfTenant {
  tenant: TenantReport;
  leading: Leading | undefined;
  isAdmin: boolean;
}

function Tenant({ tenant, leading, isAdmin }: OfTenant) {
  const { words } = useWords();
  const { mode, countries } = tenant.own;
  return (
    <section className="card stack">
      <h3>{tenant.name}</h3>
      {mode && countries && <p>{words.fleet.chosen(mode, countries.join(" "))}</p>}
      {leading && (
        <Choosing
          target={{ tenant: tenant.id }}
          name={tenant.name}
          own={Object.keys(tenant.own).length > 0}
          leading={leading}
        />
      )}
      {leading && isAdmin && <Limits tenant={tenant} set={leading.setTenant} />}
    </section>
  );
}

/** What an organisation may do at most, and who chooses for it. */
function Limits({ tenant, set }: { tenant: TenantReport; set: Leading["setTenant"] }) {
  const { words } = useWords();
  const id = useId();
  const fields = ["hosts", "exemptions", "profiles", "smallest_v4", "smallest_v6"] as const;
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const said = new FormData(event.currentTarget);
    const limits = Object.fromEntries(
      fields.flatMap((field) => (said.get(field) ? [[field, Number(said.get(field))]] : [])),
    );
    const editing = said.get("editing") ? "tenant" : "portal";
    set.mutate({ ...tenant, name: String(said.get("name")).trim(), limits, editing });
  };
  return (
    <details className="groups">
      <summary>{words.tenants.limits}</summary>
      <form className="adding" onSubmit={submit}>
        <div>
          <label htmlFor={`${id}-name`}>{words.tenants.name}</label>
          <input id={`${id}-name`} name="name" required maxLength={64} defaultValue={tenant.name} />
        </div>
        {fields.map((field) => (
          <div key={field}>
            <label htmlFor={`${id}-${field}`}>{words.tenants[field]}</label>
            <input
              id={`${id}-${field}`}
              name={field}
              type="number"
              min={0}
              max={{ smallest_v4: 32, smallest_v6: 128 }[field as string] ?? 100_000}
              defaultValue={tenant.limits[field] ?? ""}
            />
          </div>
        ))}
        <label>
          <input type="checkbox" name="editing" defaultChecked={tenant.editing === "tenant"} />
          {words.tenants.editing}
        </label>
        <button type="submit" disabled={set.isPending}>
          {words.tenants.set}
        </button>
        <Failure error={set.error} />
      </form>
    </details>
  );
}

interface OfGroup {
  group: Group;
  groups: Group[];
  leading: Leading | undefined;
}

function One({ group, groups, leading }: OfGroup) {
  const { words, moment } = useWords();
  const { policy, from } = group;
  const since = new Date(group.revision * 1000).toISOString();
  const risks = new Set(group.hosts.flatMap((host) => host.risks));
  const others = groups.filter(({ id, tenant }) => tenant === group.tenant && id !== group.id);
  return (
    <section className="card stack">
      <h3>{group.name}</h3>
      <p>
        {policy ? words.fleet.chosen(policy.mode, policy.countries.join(" ")) : words.fleet.free}{" "}
        {policy?.hosting === "drop" && words.fleet.hosting}{" "}
        <span className="quiet">{policy && words.fleet.since(moment(since))}</span>
      </p>
      {policy && (from.countries === "tenant" || from.hosting === "tenant") && (
        <p className="quiet">
          {words.fleet.from(from.countries === "tenant", policy.hosting != null && from.hosting === "tenant")}
        </p>
      )}
      {group.hosts.length > 0 && <FleetHosts hosts={group.hosts} others={others} leading={leading} />}
      {leading && policy && risks.size > 0 && <Accept group={group} risks={[...risks]} leading={leading} />}
      {leading && (
        <>
          <Choosing
            target={{ group: group.id }}
            name={group.name}
            own={Object.keys(group.own).length > 0}
            leading={leading}
          />
          <button
            type="button"
            aria-label={words.fleet.inviteTo(group.name)}
            disabled={leading.invite.isPending}
            onClick={() => leading.invite.mutate(group.id)}
          >
            {words.fleet.invite}
          </button>
        </>
      )}
    </section>
  );
}

/** Hosts refused: they name what would have to be accepted, and all hosts of the group are then taken to accept it. */
function Accept({ group, risks, leading }: { group: Group; risks: Risk[]; leading: Leading }) {
  const { words } = useWords();
  const accept = [...new Set([...(group.own.accept ?? []), ...risks])];
  const target = { group: group.id };
  return (
    <button
      type="button"
      onClick={() => leading.choose.mutate({ target, settings: { ...group.own, accept } })}
    >
      {words.fleet.accept(risks.join(", "))}
    </button>
  );
}

interface Naming {
  label: string;
  submit: string;
  add: (name: string, done: () => void) => void;
  error: unknown;
}

function Named({ label, submit, add, error }: Naming) {
  const name = useId();
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    add(String(new FormData(form).get("name")).trim(), () => form.reset());
  };
  return (
    <form className="adding" onSubmit={send}>
      <div>
        <label htmlFor={name}>{label}</label>
        <input id={name} name="name" required maxLength={64} autoComplete="off" />
      </div>
      <button type="submit">{submit}</button>
      <Failure error={error} />
    </form>
  );
}
