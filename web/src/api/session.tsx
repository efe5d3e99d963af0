// Who is at the page.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, done, Refused, repeat, type Session } from "./client";
import { proofEnds } from "./proof";

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
  code?: string | null;
}

/** Whether a code is asked for, or was not right. */
export function isCodeAsked(error: unknown): boolean {
  return error instanceof Refused && error.problem.type === "urn:geofilter:code";
}

export function useSignIn() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: Credentials) => done(api.POST("/api/v1/session", { body })),
    onSuccess: (session) => {
      // What whoever was here before saw is not for whoever is here now.
      client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== KEY[0] });
      proofEnds(false);
      client.setQueryData(KEY, repeat(session));
    },
  });
}

/** The session begins for the page when whoever is first is done with what is offered then. */
export function useFirst() {
  const client = useQueryClient();
  const begin = useMutation({
    mutationFn: (body: { token: string; name: string; password: string }) =>
      done(api.POST("/api/v1/session/first", { body })),
    onSuccess: repeat,
  });
  return { begin, enter: () => client.invalidateQueries({ queryKey: KEY }) };
}

export function useProof() {
  return useMutation({
    mutationFn: (body: { password: string; code: string | null }) =>
      done(api.POST("/api/v1/session/proof", { body })),
  });
}

/** The second factor of whoever is here. */
export function useTotp() {
  const client = useQueryClient();
  const refresh = () => {
    client.invalidateQueries({ queryKey: KEY });
    client.invalidateQueries({ queryKey: ["sessions"] });
  };
  return {
    refresh,
    offer: useMutation({ mutationFn: () => done(api.POST("/api/v1/session/totp")) }),
    begin: useMutation({
      mutationFn: (code: string) => done(api.PUT("/api/v1/session/totp", { body: { code } })),
    }),
    end: useMutation({ mutationFn: () => done(api.DELETE("/api/v1/session/totp")), onSuccess: refresh }),
  };
}

export function useRecoveryCodes() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: () => done(api.POST("/api/v1/session/recovery-codes")),
    onSuccess: () => client.invalidateQueries({ queryKey: KEY }),
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
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: { old: string; new: string }) => done(api.PUT("/api/v1/session/password", { body })),
    onSuccess: () => client.invalidateQueries({ queryKey: KEY }),
  });
}

export function useAudit() {
  return useQuery({
    queryKey: ["audit"],
    queryFn: () => done(api.GET("/api/v1/audit", { params: { query: { limit: 200 } } })),
  });
}
