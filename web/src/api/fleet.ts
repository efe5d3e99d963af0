// The hosts of the fleet, in groups.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, type FleetSettings, type Rollouts, type TenantReport } from "./client";

const FLEET = ["fleet"];
const ROLLOUTS = ["rollouts"];

/** For whom something is chosen. */
export type Target = { tenant: number } | { group: number } | { host: number };

export function useFleet() {
  return useQuery({
    queryKey: FLEET,
    queryFn: () => done(api.GET("/api/v1/fleet")),
    refetchInterval: 3_000,
  });
}

/** A month of an organisation's hosts, or of all. */
export function useReport(month: string, tenant: number | undefined) {
  return useQuery({
    queryKey: ["report", month, tenant],
    queryFn: () =>
      done(
        api.GET("/api/v1/fleet/report", {
          params: { query: tenant === undefined ? { month } : { month, tenant } },
        }),
      ),
  });
}

/** The rollouts, the newest first. */
export function useRollouts() {
  return useQuery<Rollouts>({
    queryKey: ROLLOUTS,
    queryFn: () => done(api.GET("/api/v1/fleet/rollouts")),
    refetchInterval: 3_000,
  });
}

const at = (id: number) => ({ params: { path: { id } } });

function choose(target: Target, body: FleetSettings) {
  if ("tenant" in target)
    return done(api.PUT("/api/v1/fleet/tenants/{id}/policy", { ...at(target.tenant), body }));
  if ("group" in target)
    return done(api.PUT("/api/v1/fleet/groups/{id}/policy", { ...at(target.group), body }));
  return done(api.PUT("/api/v1/fleet/hosts/{id}/policy", { ...at(target.host), body }));
}

/** Makes groups, chooses for them, invites hosts and lets them go. */
export function useLeading() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: FLEET });
  return {
    addTenant: useMutation({
      mutationFn: (name: string) => done(api.POST("/api/v1/fleet/tenants", { body: { name } })),
      onSettled,
    }),
    setTenant: useMutation({
      mutationFn: ({ id, name, limits, editing }: TenantReport) =>
        done(api.PUT("/api/v1/fleet/tenants/{id}", { ...at(id), body: { name, limits, editing } })),
      onSettled,
    }),
    add: useMutation({
      mutationFn: ({ name, tenant }: { name: string; tenant: number }) =>
        done(api.POST("/api/v1/fleet/groups", { body: { name, tenant } })),
      onSettled,
    }),
    choose: useMutation({
      mutationFn: ({ target, settings }: { target: Target; settings: FleetSettings }) =>
        choose(target, settings),
      onSettled,
    }),
    invite: useMutation({
      mutationFn: (id: number) => done(api.POST("/api/v1/fleet/groups/{id}/tokens", at(id))),
    }),
    rebase: useMutation({
      mutationFn: () => done(api.POST("/api/v1/fleet/epoch")),
      onSettled,
    }),
    settle: useMutation({
      mutationFn: ({ id, drift }: { id: number; drift: "accept" | "overwrite" }) =>
        done(api.POST("/api/v1/fleet/hosts/{id}/drift", { ...at(id), body: { drift } })),
      onSettled,
    }),
    move: useMutation({
      mutationFn: ({ id, group }: { id: number; group: number }) =>
        done(api.PUT("/api/v1/fleet/hosts/{id}/group", { ...at(id), body: { group } })),
      onSettled,
    }),
    revoke: useMutation({
      mutationFn: (id: number) => done(api.DELETE("/api/v1/fleet/hosts/{id}", at(id))),
      onSettled,
    }),
  };
}

/** A group or an organisation: what is chosen for it may be previewed and rolled out. */
export type Many = Exclude<Target, { host: number }>;

/** Begins rollouts, and steers them. */
export function useRolling() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: ROLLOUTS });
  return {
    begin: useMutation({
      mutationFn: ({ target, settings }: { target: Many; settings: FleetSettings }) =>
        done(api.POST("/api/v1/fleet/rollouts", { body: { ...target, settings } })),
      onSettled,
    }),
    steer: useMutation({
      mutationFn: ({ id, steer }: { id: number; steer: "pause" | "resume" | "abort" }) =>
        done(api.POST("/api/v1/fleet/rollouts/{id}", { ...at(id), body: { steer } })),
      onSettled,
    }),
  };
}

/** Asks hosts whom it would cut to choose this. */
export function useAsking() {
  return useMutation({
    mutationFn: ({ target, settings }: { target: Many; settings: FleetSettings }) =>
      done(api.POST("/api/v1/fleet/previews", { body: { ...target, settings } })),
  });
}

/** What hosts have said of that so far. */
export function useAnswers(id: number | undefined) {
  return useQuery({
    queryKey: ["preview", id],
    enabled: id !== undefined,
    queryFn: () => done(api.GET("/api/v1/fleet/previews/{id}", at(id ?? 0))),
    refetchInterval: ({ state: { data } }) => (data && data.answered >= data.asked ? false : 1_000),
  });
}
