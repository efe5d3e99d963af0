// What happens at the host, as it is told: one stream for the whole page.

import { useQueryClient } from "@tanstack/react-query";
import { createContext, type ReactNode, useContext, useEffect, useRef, useState } from "react";
import { KEPT } from "../log";
import type { LogEntry, Status } from "./client";
import { HOST, keys } from "./host";

/** Pages are drawn at most this often, in milliseconds, however many drops there are. */
const DRAWN = 250;
/** Time after which a portal that refused the stream is asked again. */
const AGAIN = 5_000;

export interface Live {
  /** The last drops, the newest first. */
  drops: LogEntry[];
  /** Drops that were not told one by one. */
  skipped: number;
  /** Why the agent does not answer, while it does not. */
  away?: string;
  /** Whether the portal is heard. */
  heard: boolean;
  /** What the host was told to do went back by itself at this time. */
  wentBack?: Date | undefined;
}

const Context = createContext<Live>({ drops: [], skipped: 0, heard: true });
export const useLive = () => useContext(Context);

export function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const [live, setLive] = useState<Live>({ drops: [], skipped: 0, heard: true });
  const waiting = useRef<LogEntry[]>([]);

  useEffect(() => {
    let stream: EventSource | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    const open = () => {
      stream?.close();
      clearTimeout(again);
      // A browser has few connections for a portal, and each open page would take one.
      if (document.hidden) return;
      stream = new EventSource(`/api/v1/hosts/${HOST}/events`);
      hear(stream);
    };
    const hear = (stream: EventSource) => {
      const on = <T,>(name: string, heard: (data: T) => void) =>
        stream.addEventListener(name, (event) => heard(JSON.parse((event as MessageEvent<string>).data)));
      on<Status>("status", (status) => {
        const before = client.getQueryData<Status>(keys.status);
        client.setQueryData(keys.status, status);
        setLive(({ away: _, ...live }) => ({ ...live, heard: true, ...wentBack(before, status) }));
      });
      on<LogEntry>("drop", (entry) => waiting.current.push(entry));
      on<{ entries: number }>("skipped", ({ entries }) =>
        setLive((live) => ({ ...live, skipped: live.skipped + entries })),
      );
      on<{ detail: string }>("away", ({ detail }) =>
        setLive((live) => ({ ...live, heard: true, away: detail })),
      );
      stream.onerror = () => {
        setLive((live) => ({ ...live, heard: false }));
        // The session may have ended. What is refused is not asked for again by the browser itself.
        client.invalidateQueries({ queryKey: ["session"] });
        if (stream.readyState === EventSource.CLOSED) again = setTimeout(open, AGAIN);
      };
    };
    const drawing = setInterval(() => {
      const drops = waiting.current.splice(0).reverse();
      if (drops.length > 0) setLive((live) => ({ ...live, drops: [...drops, ...live.drops].slice(0, KEPT) }));
    }, DRAWN);
    open();
    document.addEventListener("visibilitychange", open);
    return () => {
      document.removeEventListener("visibilitychange", open);
      stream?.close();
      clearTimeout(again);
      clearInterval(drawing);
    };
  }, [client]);

  return <Context value={live}>{children}</Context>;
}

/** A pending change that is over without having been kept, at its end: nobody asked for that here or elsewhere. */
export function wentBack(before: Status | undefined, now: Status): Pick<Live, "wentBack"> {
  if (now.state === "pending") return { wentBack: undefined };
  const ended = before?.state === "pending" && (before.remaining ?? 0) <= 2;
  return ended && now.generation !== before.generation ? { wentBack: new Date() } : {};
}
