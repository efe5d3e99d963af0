// The hosts of the fleet, in groups.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, type Choice, done, type Risk } from "./client";

const FLEET = ["fleet"];

export function useFleet() {
  return useQuery({
    queryKey: FLEET,
    queryFn: () => done(api.GET("/api/v1/fleet")),
    refetchInterval: 3_000,
  });
}

/** Makes groups, chooses for them, invites hosts and lets them go. */
export function useLeading() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: FLEET });
  const at = (id: number) => ({ params: { path: { id } } });
  return {
    add: useMutation({
      mutationFn: (name: string) => done(api.POST("/api/v1/fleet/groups", { body: { name } })),
      onSettled,
    }),
    choose: useMutation({
      mutationFn: ({ id, choice, accept }: { id: number; choice: Choice; accept: Risk[] }) =>
        done(api.PUT("/api/v1/fleet/groups/{id}/policy", { ...at(id), body: { ...choice, accept } })),
      onSettled,
    }),
    invite: useMutation({
      mutationFn: (id: number) => done(api.POST("/api/v1/fleet/groups/{id}/tokens", at(id))),
    }),
    rebase: useMutation({
      mutationFn: () => done(api.POST("/api/v1/fleet/epoch")),
      onSettled,
    }),
    revoke: useMutation({
      mutationFn: (id: number) => done(api.DELETE("/api/v1/fleet/hosts/{id}", at(id))),
      onSettled,
    }),
  };
}
