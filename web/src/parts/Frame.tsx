// What is on every page: where one can go, and the state of the host, which never scrolls away.

import { type ReactNode, useEffect, useState } from "react";
import { Link, useLocation, useRoute } from "wouter";
import { useStatus } from "../api/host";
import { useSignOut } from "../api/session";
import { useWords } from "../words";
import { Note } from "./Notice";
import { StatusBar } from "./StatusBar";

const pages = [
  ["/", "policy"],
  ["/live", "live"],
  ["/log", "log"],
  ["/exemptions", "exemptions"],
  ["/bans", "bans"],
  ["/evidence", "evidence"],
  ["/hosts", "hosts"],
  ["/settings", "settings"],
] as const;

/** What there is for an operator of one organisation. */
const OWN: ReadonlySet<string> = new Set(["/hosts", "/settings"]);

/** So many have a place of their own on a phone; there the others are behind a button. */
const FIRST = 4;

export function Frame({ own = false, children }: { own?: boolean; children: ReactNode }) {
  const { words } = useWords();
  const [more, show] = useState(false);
  const [here] = useLocation();
  const signOut = useSignOut();
  // biome-ignore lint/correctness/useExhaustiveDependencies: it closes when one goes somewhere
  useEffect(() => show(false), [here]);
  const shown = own ? pages.filter(([path]) => OWN.has(path)) : pages;
  const entry = ([path, name]: (typeof pages)[number]) => (
    <Entry key={path} path={path}>
      {words.nav[name]}
    </Entry>
  );
  return (
    <div className="frame">
      <a className="skip" href="#content">
        {words.nav.skip}
      </a>
      {!own && <StatusBar />}
      <nav className="rail" aria-label={words.nav.label}>
        {shown.slice(0, FIRST).map(entry)}
        <button type="button" className="more" aria-expanded={more} onClick={() => show(!more)}>
          {words.nav.more}
        </button>
        <span className={more ? "rest shown" : "rest"}>
          {shown.slice(FIRST).map(entry)}
          <button type="button" className="leave" onClick={() => signOut.mutate()}>
            {words.nav.signOut}
          </button>
        </span>
      </nav>
      <main id="content" className="content">
        {!own && <Useless />}
        {children}
      </main>
    </div>
  );
}

/** Says on every page that no choice of countries can do any good here. */
function Useless() {
  const { words } = useWords();
  const { data: status } = useStatus();
  const one = status?.pbx?.one_private_source;
  return (
    one && (
      <div className="useless">
        <Note kind="warn">{words.status.onePrivate(one)}</Note>
      </div>
    )
  );
}

function Entry({ path, children }: { path: string; children: ReactNode }) {
  const [here] = useRoute(path);
  return (
    <Link href={path} className={here ? "here" : ""} aria-current={here ? "page" : undefined}>
      {children}
    </Link>
  );
}
