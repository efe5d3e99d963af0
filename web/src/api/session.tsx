// Who is at the page.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, Refused, repeat, type Session } from "./client";

const KEY = ["session"];

/** The session, or why there is none. */
export function useSession() {
  return useQuery<Session, Refused>({
    queryKey: KEY,
    queryFn: async () => repeat(await done(api.GET("/api/v1/session"))),
    retry: (count, error) => !(error instanceof Refused) && count < 3,
    staleTime: 60_000,
  });
}

/** Whether whoever is here may change what the host does. */
export function useMayChange(): boolean {
  return useSession().data?.role !== "viewer";
}

interface Credentials {
  name: string;
  password: string;
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Credentials) => done(api.POST("/api/v1/session", { body })),
    onSuccess: (session) => client.setQueryData(KEY, repeat(session)),
  });
}

export function useFirst() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Credentials & { token: string }) => done(api.POST("/api/v1/session/first", { body })),
    onSuccess: (session) => client.setQueryData(KEY, repeat(session)),
  });
}

export function useSignOut() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => done(api.DELETE("/api/v1/session")),
    onSettled: () => client.resetQueries(),
  });
}

export function useSessions() {
  return useQuery({ queryKey: ["sessions"], queryFn: () => done(api.GET("/api/v1/sessions")) });
}

export function useEndSession() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (id: number) => done(api.DELETE("/api/v1/sessions/{id}", { params: { path: { id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["sessions"] }),
  });
}

export function useNewPassword() {
  return useMutation({
    mutationFn: (body: { old: string; new: string }) => done(api.PUT("/api/v1/session/password", { body })),
  });
}

export function useAudit() {
  return useQuery({
    queryKey: ["audit"],
    queryFn: () => done(api.GET("/api/v1/audit", { params: { query: { limit: 200 } } })),
  });
}
