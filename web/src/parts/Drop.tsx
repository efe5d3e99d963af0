// A drop, as it is listed wherever drops are.

import { useState } from "react";
import type { LogEntry } from "../api/client";
import { useWords } from "../words";
import { Code } from "./Code";
import { Copied } from "./Copied";
import { Note } from "./Notice";
import { WhyPanel } from "./WhyPanel";

export function Drop({ entry, why }: { entry: LogEntry; why: (address: string) => void }) {
  const { words, time, number, country } = useWords();
  const asked = [entry.method, entry.user_agent].filter(Boolean).join(" · ");
  return (
    <>
      <time dateTime={entry.time}>{time(entry.time)}</time>
      <span>
        <Code code={entry.country} /> <span className="name">{country(entry.country)}</span>
      </span>
      <Copied text={entry.source} />
      <span className="name quiet" title={entry.as_name ?? undefined}>
        {entry.as_name ?? (entry.asn ? `AS${entry.asn}` : "")}
      </span>
      <span className="name" title={asked}>
        {asked}
      </span>
      <span className={entry.enforced ? "dropped" : "would-drop"}>
        {words.reasons[entry.reason]}
        {(entry.packets ?? 1) > 1 && (
          <small className="quiet"> {words.live.stands(number(entry.packets ?? 1))}</small>
        )}
      </span>
      <span className="buttons">
        <button type="button" onClick={() => why(entry.source)}>
          {words.live.actions}
        </button>
      </span>
    </>
  );
}

/** Asks of an address why, says what was done about it, and lets rows stay where they are while somebody points at them. */
export function useAsking<T>(now: T) {
  const [address, why] = useState<string>();
  const [said, say] = useState<string>();
  const [held, set] = useState<T>();
  return {
    why,
    shown: held ?? now,
    hold: (pointed: boolean) => set(pointed ? now : undefined),
    said: said && <Note>{said}</Note>,
    panel: address && <WhyPanel address={address} say={say} close={() => why(undefined)} />,
  };
}
