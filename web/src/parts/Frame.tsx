// What is on every page: where one can go, and the state of the host, which never scrolls away.

import type { ReactNode } from "react";
import { Link, useRoute } from "wouter";
import { useWords } from "../words";
import { StatusBar } from "./StatusBar";

const pages = [
  ["/", "policy"],
  ["/live", "live"],
  ["/exemptions", "exemptions"],
  ["/bans", "bans"],
  ["/evidence", "evidence"],
  ["/settings", "settings"],
] as const;

export function Frame({ children }: { children: ReactNode }) {
  const { words } = useWords();
  return (
    <div className="frame">
      <a className="skip" href="#content">
        {words.nav.skip}
      </a>
      <StatusBar />
      <nav className="rail" aria-label={words.nav.label}>
        {pages.map(([path, name]) => (
          <Entry key={path} path={path}>
            {words.nav[name]}
          </Entry>
        ))}
      </nav>
      <main id="content" className="content">
        {children}
      </main>
    </div>
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
