// The bans that the hosts of the fleet share, and what they keep to themselves.

import { useSharedBans, useSharing } from "../api/bans";
import type { SharedBans as Shared, SharedBan } from "../api/client";
import { useMayChange } from "../api/session";
import { useWords } from "../words";
import { Failure } from "./Notice";

export function SharedBans() {
  const { words } = useWords();
  const { data, error } = useSharedBans();
  const { share, withdraw } = useSharing();
  const mayChange = useMayChange();
  // A portal that has no fleet shares nothing.
  if (!data) return <Failure error={error} />;
  return (
    <section className="stack">
      <h2>{words.shared.title}</h2>
      <p className="quiet">{data.sharing ? words.shared.about(data.enough) : words.shared.off}</p>
      <Failure error={share.error ?? withdraw.error} />
      {data.sharing && <Table bans={data.bans} withdraw={mayChange ? withdraw.mutate : undefined} />}
      {data.sharing && <KeptBack data={data} />}
      {mayChange && (
        <p>
          <button type="button" disabled={share.isPending} onClick={() => share.mutate(!data.sharing)}>
            {data.sharing ? words.shared.end : words.shared.begin}
          </button>
        </p>
      )}
    </section>
  );
}

function Table({ bans, withdraw }: { bans: SharedBan[]; withdraw: ((address: string) => void) | undefined }) {
  const { words, moment } = useWords();
  if (bans.length === 0) return <p className="quiet empty">{words.records.empty}</p>;
  return (
    <div className="scrolls">
      <table>
        <thead>
          <tr>
            <th scope="col">{words.live.address}</th>
            <th scope="col">{words.records.until}</th>
            <th scope="col">{words.shared.by}</th>
            <th scope="col">{words.records.note}</th>
            {withdraw && <th scope="col">{words.live.actions}</th>}
          </tr>
        </thead>
        <tbody>
          {bans.map((ban) => (
            <tr key={ban.address}>
              <th scope="row" className="address">
                {ban.address}
              </th>
              <td>{moment(ban.until)}</td>
              <td>{ban.proven ? words.shared.proven(ban.host) : words.shared.made(ban.hosts)}</td>
              <td>{ban.why}</td>
              {withdraw && (
                <td>
                  <button
                    type="button"
                    aria-label={words.shared.withdrawOne(ban.address)}
                    onClick={() => withdraw(ban.address)}
                  >
                    {words.shared.withdraw}
                  </button>
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What is not shared, as far as there is any. */
function KeptBack({ data }: { data: Shared }) {
  const { words, number } = useWords();
  const { by_host_budget, by_fleet_budget, by_protection, most_of_a_host } = data.kept_back;
  const told = [
    [data.counting, words.shared.counting],
    [by_host_budget, (count: string) => words.shared.byHostBudget(count, number(most_of_a_host))],
    [by_fleet_budget, words.shared.byFleetBudget],
    [by_protection, words.shared.byProtection],
    [data.unprotected, words.shared.unprotected],
  ] as const;
  const some = told.filter(([count]) => count > 0);
  if (some.length === 0) return null;
  return (
    <ul className="plain-list">
      {some.map(([count, say]) => (
        <li key={say(number(count))}>{say(number(count))}</li>
      ))}
    </ul>
  );
}
