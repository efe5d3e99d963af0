// Some changes need a proof, not long ago, of who asks: whoever is at the page is asked for it, and the request repeated.

import type { Middleware } from "openapi-fetch";
import { useSyncExternalStore } from "react";

/** Whoever waits for the proof; each is told whether it was given. */
let waiting: ((proved: boolean) => void)[] = [];
let listeners: (() => void)[] = [];

function tell() {
  for (const listener of listeners) listener();
}

/** Whether a proof is being waited for. */
export function useProofWanted(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.push(listener);
      return () => {
        listeners = listeners.filter((other) => other !== listener);
      };
    },
    () => waiting.length > 0,
  );
}

/** Says whether the proof was given. */
export function proofEnds(proved: boolean) {
  const ended = waiting;
  waiting = [];
  for (const end of ended) end(proved);
  tell();
}

function proof(): Promise<boolean> {
  const ended = new Promise<boolean>((end) => waiting.push(end));
  tell();
  return ended;
}

/** What was asked, to be asked once more: a body can be read only once. */
const again = new WeakMap<Request, Request>();

export const proving: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET") again.set(request, request.clone());
  },
  async onResponse({ request, response }) {
    const repeated = again.get(request);
    if (response.status !== 403 || !repeated) return;
    const { type } = await response.clone().json();
    if (type === "urn:geofilter:prove" && (await proof())) return fetch(repeated);
  },
};
