// Who may do what at this portal, and the tokens of programs.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, type Role } from "./client";

export function useOperators() {
  return useQuery({ queryKey: ["operators"], queryFn: () => done(api.GET("/api/v1/operators")) });
}

export function useOperator() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: ["operators"] });
  const at = (name: string) => ({ params: { path: { name } } });
  return {
    add: useMutation({
      mutationFn: (body: { name: string; password: string; role: Role; tenant: number | null }) =>
        done(api.POST("/api/v1/operators", { body })),
      onSettled,
    }),
    set: useMutation({
      mutationFn: ({ name, role }: { name: string; role: Role }) =>
        done(api.PUT("/api/v1/operators/{name}", { ...at(name), body: { role } })),
      onSettled,
    }),
    endTotp: useMutation({
      mutationFn: (name: string) => done(api.DELETE("/api/v1/operators/{name}/totp", at(name))),
      onSettled,
    }),
    remove: useMutation({
      mutationFn: (name: string) => done(api.DELETE("/api/v1/operators/{name}", at(name))),
      onSettled,
    }),
  };
}

export function useTokens() {
  return useQuery({ queryKey: ["tokens"], queryFn: () => done(api.GET("/api/v1/tokens")) });
}

export function useToken() {
  const client = useQueryClient();
  const onSettled = () => client.invalidateQueries({ queryKey: ["tokens"] });
  return {
    make: useMutation({
      mutationFn: (body: { name: string; role: Role; days: number | null }) =>
        done(api.POST("/api/v1/tokens", { body })),
      onSettled,
    }),
    revoke: useMutation({
      mutationFn: (id: number) => done(api.DELETE("/api/v1/tokens/{id}", { params: { path: { id } } })),
      onSettled,
    }),
  };
}
