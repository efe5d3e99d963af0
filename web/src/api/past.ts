// What happened at the host before: what was counted, and which policies were in force.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, type Risk } from "./client";
import { HOST, keys, TRIAL } from "./host";

const params = { path: { host: HOST } };

/** How far back one can look, in seconds, and how often that is asked for anew, in milliseconds. */
export const ranges = {
  hours: { seconds: 7_200, every: 10_000 },
  days: { seconds: 7 * 86_400, every: 60_000 },
  years: { seconds: 2 * 365 * 86_400, every: 600_000 },
} as const;
export type Range = keyof typeof ranges;
export const rangeNames = Object.keys(ranges) as Range[];

export type By = "country" | "reason";

export function useSeries(range: Range, by: By) {
  const { seconds, every } = ranges[range];
  return useQuery({
    queryKey: ["series", range, by],
    queryFn: () => {
      const from = new Date(Date.now() - seconds * 1_000).toISOString();
      return done(api.GET("/api/v1/hosts/{host}/series", { params: { ...params, query: { from, by } } }));
    },
    placeholderData: (before) => before,
    refetchInterval: every,
  });
}

export function useHistory(limit: number) {
  return useQuery({
    queryKey: ["history", limit],
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/history", { params: { ...params, query: { limit } } })),
    placeholderData: (before) => before,
    refetchInterval: 10_000,
  });
}

/** A former policy once more, on trial as any other change. */
export function useRestore() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: ({ id, accept }: { id: number; accept: Risk[] }) =>
      done(
        api.POST("/api/v1/hosts/{host}/history/{id}/restore", {
          params: { path: { host: HOST, id } },
          body: { confirm_within: TRIAL, accept },
        }),
      ),
    onSettled: () => {
      client.invalidateQueries({ queryKey: keys.status });
      client.invalidateQueries({ queryKey: ["history"] });
    },
  });
}
