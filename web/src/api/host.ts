// What the page asks of a host. Portals have one host today; every call names it all the same.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, type Change, type Changed, done } from "./client";

export const HOST = "local";
const params = { path: { host: HOST } };

export const keys = {
  status: ["status", HOST],
  statusOf: (host: string) => ["status", host],
  records: (kind: Kind) => ["records", kind],
};

export type Kind = "exemptions" | "bans";

export function useStatus(host: string = HOST, enabled = true) {
  return useQuery({
    enabled,
    queryKey: keys.statusOf(host),
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/status", { params: { path: { host } } })),
  });
}

export function useHosts() {
  return useQuery({ queryKey: ["hosts"], queryFn: () => done(api.GET("/api/v1/hosts")), staleTime: 60_000 });
}

/** The same, asked again and again: which of them answer. */
export function useReachable() {
  return useQuery({
    queryKey: ["hosts"],
    queryFn: () => done(api.GET("/api/v1/hosts")),
    refetchInterval: 5_000,
  });
}

export function useCountries() {
  return useQuery({
    queryKey: ["countries"],
    queryFn: () => done(api.GET("/api/v1/countries")),
    staleTime: Number.POSITIVE_INFINITY,
  });
}

/** From which countries packets come. */
export function useSeen() {
  return useQuery({
    queryKey: ["seen"],
    queryFn: () =>
      done(api.GET("/api/v1/hosts/{host}/sources", { params: { ...params, query: { limit: 0 } } })),
    refetchInterval: 15_000,
  });
}

/** What a change would do; the last answer stays while the next one is on its way. */
export function usePreview(change: Change | undefined) {
  return useQuery({
    queryKey: ["preview", change],
    queryFn: () =>
      done(api.POST("/api/v1/hosts/{host}/preview", { params, body: { change: change ?? null } })),
    placeholderData: (before) => before,
    enabled: change !== undefined,
    retry: false,
  });
}

export function useLog() {
  return useQuery({
    queryKey: ["log"],
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/log", { params })),
  });
}

export function useWhy(address: string) {
  return useQuery({
    queryKey: ["why", address],
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/why", { params: { ...params, query: { address } } })),
    retry: false,
  });
}

export function useEvidence() {
  return useQuery({
    queryKey: ["evidence"],
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/evidence", { params })),
  });
}

export function useRecords(kind: Kind) {
  return useQuery({
    queryKey: keys.records(kind),
    queryFn: () => done(api.GET(`/api/v1/hosts/{host}/${kind}`, { params })),
    refetchInterval: 30_000,
  });
}

export function usePeers() {
  return useQuery({
    queryKey: ["peers"],
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/peers", { params })),
    refetchInterval: 30_000,
  });
}

/** For how long somebody is exempt or banned, in seconds; for ever without. */
export const spans = { hour: 3_600, day: 86_400, good: undefined };
export type SpanName = keyof typeof spans;
export const spanNames = Object.keys(spans) as SpanName[];

interface Added {
  target: string;
  span: SpanName;
  note?: string;
}

/** Exempts or bans somebody, or ends that. */
export function useRecording(kind: Kind) {
  const client = useQueryClient();
  const path = `/api/v1/hosts/{host}/${kind}` as const;
  const onSuccess = () => client.invalidateQueries({ queryKey: keys.records(kind) });
  const add = useMutation({
    mutationFn: ({ target, span, note }: Added) =>
      done(
        api.POST(path, {
          params,
          body: { targets: [target], seconds: spans[span] ?? null, note: note ?? "" },
        }),
      ),
    onSuccess,
  });
  const end = useMutation({
    mutationFn: (target: string) => done(api.DELETE(path, { params: { ...params, query: { target } } })),
    onSuccess,
  });
  return { add, end };
}

/** Seconds in which a change is kept, or goes back. */
export const TRIAL = 120;

/** What the host can be told to do. */
export type Order =
  | { to: "enforce"; change: Change; within: number | null }
  | { to: "confirm" | "revert"; generation: number }
  | { to: "observe" | "resume" | "off" }
  | { to: "pause"; seconds: number };

function tell(order: Order): Promise<Changed> {
  switch (order.to) {
    case "enforce": {
      const body = { change: order.change, confirm_within: order.within };
      return done(api.PUT("/api/v1/hosts/{host}/policy", { params, body }));
    }
    case "pause":
      return done(api.POST("/api/v1/hosts/{host}/pause", { params, body: { seconds: order.seconds } }));
    case "confirm":
    case "revert":
      return done(
        api.POST(`/api/v1/hosts/{host}/${order.to}`, { params, body: { generation: order.generation } }),
      );
    default:
      return done(api.POST(`/api/v1/hosts/{host}/${order.to}`, { params }));
  }
}

export function useOrder() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: tell,
    onSettled: () => client.invalidateQueries({ queryKey: keys.status }),
  });
}
