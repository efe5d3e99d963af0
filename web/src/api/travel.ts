// Links for colleagues abroad.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done } from "./client";
import { HOST, keys } from "./host";

const KEY = ["travellers"];
const params = { path: { host: HOST } };

export function useTravellers() {
  return useQuery({
    queryKey: KEY,
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/travellers", { params })),
    refetchInterval: 30_000,
  });
}

export function useTraveller() {
  const client = useQueryClient();
  const onSuccess = () => {
    client.invalidateQueries({ queryKey: KEY });
    client.invalidateQueries({ queryKey: keys.records("exemptions") });
  };
  return {
    make: useMutation({
      mutationFn: (body: { name: string; hours: number }) =>
        done(api.POST("/api/v1/hosts/{host}/travellers", { params, body })),
      onSuccess,
    }),
    end: useMutation({
      mutationFn: (id: number) =>
        done(api.DELETE("/api/v1/hosts/{host}/travellers/{id}", { params: { path: { host: HOST, id } } })),
      onSuccess,
    }),
  };
}

/** What the link of a traveller does, for whoever has it. */
export function useTravel() {
  return useMutation({
    mutationFn: (token: string) => done(api.POST("/api/v1/travel", { body: { token } })),
  });
}
