// Whom the portal tells of what when no page is open.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, type NewRecipient } from "./client";

const KEY = ["recipients"];

export function useRecipients() {
  return useQuery({ queryKey: KEY, queryFn: () => done(api.GET("/api/v1/recipients")) });
}

export function useRecipient() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: KEY });
  const at = (id: number) => ({ params: { path: { id } } });
  return {
    add: useMutation({
      mutationFn: (body: NewRecipient) => done(api.POST("/api/v1/recipients", { body })),
      onSettled,
    }),
    remove: useMutation({
      mutationFn: (id: number) => done(api.DELETE("/api/v1/recipients/{id}", at(id))),
      onSettled,
    }),
    test: useMutation({
      mutationFn: (id: number) => done(api.POST("/api/v1/recipients/{id}/test", at(id))),
      onSettled,
    }),
  };
}
