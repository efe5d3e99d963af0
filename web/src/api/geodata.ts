// The world data of the host: where it comes from, and what becomes of what is new.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done } from "./client";
import { HOST, keys } from "./host";

const params = { path: { host: HOST } };
const KEY = ["geodata", HOST];

export function useGeodata() {
  return useQuery({
    queryKey: KEY,
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/geodata", { params })),
    // While it runs one wants to see how far it is.
    refetchInterval: (query) => (query.state.data?.running ? 1_000 : 60_000),
  });
}

export type Deed = "update" | "approve" | "rollback";

export function useGeodataDeed() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (deed: Deed) => {
      switch (deed) {
        case "update":
          return done(api.POST("/api/v1/hosts/{host}/geodata/update", { params }));
        case "approve":
          return done(api.POST("/api/v1/hosts/{host}/geodata/approve", { params }));
        case "rollback":
          return done(api.POST("/api/v1/hosts/{host}/geodata/rollback", { params }));
      }
    },
    onSuccess: (geodata) => {
      client.setQueryData(KEY, geodata);
      client.invalidateQueries({ queryKey: keys.status });
    },
  });
}
