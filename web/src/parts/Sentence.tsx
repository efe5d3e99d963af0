// The state of a host in one sentence.

import { useEffect, useState } from "react";
import type { Status } from "../api/client";
import { HOST, useStatus } from "../api/host";
import { useWords } from "../words";

/** Counted down here, so that it goes on while nothing is heard. */
export function useLeft(host: string = HOST): number {
  const { data, dataUpdatedAt } = useStatus(host);
  const [now, look] = useState(Date.now);
  const ends = data?.remaining !== undefined && data.remaining !== null;
  useEffect(() => {
    const timer = ends ? setInterval(() => look(Date.now()), 1_000) : undefined;
    return () => clearInterval(timer);
  }, [ends]);
  const passed = Math.max(0, Math.round((now - dataUpdatedAt) / 1_000));
  return Math.max(0, (data?.remaining ?? 0) - passed);
}

export function Sentence({ status, host }: { status: Status; host?: string }) {
  const { words, span } = useWords();
  const left = span(useLeft(host));
  switch (status.state) {
    case "off":
      return words.status.off;
    case "observing":
      return words.status.observing;
    case "paused":
      return words.status.paused(left);
    case "pending":
      return words.status.pending(left);
    case "enforcing":
      return status.mode === "allow"
        ? words.status.allow(status.countries.length)
        : words.status.block(status.countries.length);
  }
}
