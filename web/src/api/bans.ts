// The bans that hosts of the fleet share.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done } from "./client";
import { useFleet } from "./fleet";

const SHARED = ["fleet", "bans"];

/** Asked for only where there is a fleet. */
export function useSharedBans() {
  const fleet = useFleet();
  return useQuery({
    queryKey: SHARED,
    queryFn: () => done(api.GET("/api/v1/fleet/bans")),
    refetchInterval: 3_000,
    enabled: Boolean(fleet.data?.address),
  });
}

export function useSharing() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: SHARED });
  return {
    share: useMutation({
      mutationFn: (sharing: boolean) => done(api.PUT("/api/v1/fleet/bans", { body: { sharing } })),
      onSettled,
    }),
    withdraw: useMutation({
      mutationFn: (address: string) =>
        done(api.DELETE("/api/v1/fleet/bans/{address}", { params: { path: { address } } })),
      onSettled,
    }),
  };
}
