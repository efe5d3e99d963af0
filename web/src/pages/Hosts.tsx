// The hosts of this portal, a line each.

import { Link } from "wouter";
import { old } from "../age";
import type { Status } from "../api/client";
import { useReachable, useStatus } from "../api/host";
import { useSession } from "../api/session";
import { Fleet } from "../parts/Fleet";
import { Loaded } from "../parts/Notice";
import { Sentence } from "../parts/Sentence";
import { useWords } from "../words";

export function Hosts() {
  const { words } = useWords();
  // Who is of one organisation has nothing to do with the portal's own host.
  if (useSession().data?.tenant)
    return (
      <section className="stack">
        <h1>{words.hosts.title}</h1>
        <Fleet />
      </section>
    );
  return (
    <section className="stack">
      <h1>{words.hosts.title}</h1>
      <Here />
      <Fleet />
    </section>
  );
}

/** The host that the portal runs on. */
function Here() {
  const { words } = useWords();
  const hosts = useReachable();
  return (
    <>
      <p className="quiet">{words.hosts.about}</p>
      <Loaded query={hosts}>
        {({ hosts }) => (
          <table className="hosts">
            <thead>
              <tr>
                <th scope="col">{words.hosts.host}</th>
                <th scope="col">{words.hosts.state}</th>
                <th scope="col">{words.hosts.filter}</th>
                <th scope="col">{words.hosts.data}</th>
                <th scope="col">{words.hosts.devices}</th>
              </tr>
            </thead>
            <tbody>
              {hosts.map((host) => (
                <Host key={host.id} {...host} />
              ))}
            </tbody>
          </table>
        )}
      </Loaded>
    </>
  );
}

function Host({ id, name, reachable }: { id: string; name: string; reachable: boolean }) {
  const { words } = useWords();
  const { data: status } = useStatus(id);
  return (
    <tr>
      <th scope="row">
        <Link href="/" aria-label={words.hosts.policy(name)}>
          {name}
        </Link>
      </th>
      <td>
        {status && (
          <span className={`sentence ${status.state}`}>
            <i className="mark" aria-hidden="true" />
            <span>
              <Sentence status={status} host={id} />
            </span>
          </span>
        )}
        {!reachable && <p className="doubt">{words.hosts.away}</p>}
      </td>
      {status && <Facts status={status} />}
      {!status && <td colSpan={3} />}
    </tr>
  );
}

function Facts({ status }: { status: Status }) {
  const { words, edition } = useWords();
  const dated = old(status, Date.now());
  const date = status.data.sources[0]?.date;
  const { pbx } = status;
  const attached = status.attachments.map((at) => words.hosts.by(at.interface, at.kind)).join(", ");
  return (
    <>
      <td>
        <small>{words.hosts.filter}</small>
        {attached || words.hosts.unattached}
      </td>
      <td>
        <small>{words.hosts.data}</small>
        {date && edition(date)}
        {dated && <p className="doubt">{words.hosts.days(dated.days)}</p>}
      </td>
      <td>
        <small>{words.hosts.devices}</small>
        {pbx ? words.hosts.known(pbx.devices, pbx.trunks) : words.hosts.noPbx}
        {pbx?.one_private_source && <p className="doubt">{words.hosts.onePrivate(pbx.one_private_source)}</p>}
      </td>
    </>
  );
}
