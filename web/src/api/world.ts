// The world data that the portal fetches once for all hosts of the fleet.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done } from "./client";

const KEY = ["fleet", "world"];

export function useFleetWorld() {
  return useQuery({
    queryKey: KEY,
    queryFn: () => done(api.GET("/api/v1/fleet/world")),
    // While it runs one wants to see what comes of it.
    refetchInterval: (query) => (query.state.data?.running ? 1_000 : 10_000),
  });
}

export type WorldDeed = "update" | "approve" | "rollback";

export function useFleetWorldDeed() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (deed: WorldDeed) => {
      switch (deed) {
        case "update":
          return done(api.POST("/api/v1/fleet/world/update"));
        case "approve":
          return done(api.POST("/api/v1/fleet/world/approve"));
        case "rollback":
          return done(api.POST("/api/v1/fleet/world/rollback"));
      }
    },
    onSuccess: (world) => client.setQueryData(KEY, world),
  });
}
