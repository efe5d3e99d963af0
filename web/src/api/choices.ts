// What operators choose and do not apply yet: the draft of a host, and profiles, which have names.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { api, type Choice, done, type PolicyFile } from "./client";
import { HOST } from "./host";

const params = { path: { host: HOST } };
const DRAFT = ["draft"];
const PROFILES = ["profiles"];

export function useKeptDraft() {
  return useQuery({
    queryKey: DRAFT,
    queryFn: () => done(api.GET("/api/v1/hosts/{host}/draft", { params })),
    refetchOnMount: "always",
    gcTime: 0,
  });
}

/** Keeps a draft, or forgets it if there is none. */
export function keepDraft(choice: Choice | undefined): Promise<unknown> {
  const path = "/api/v1/hosts/{host}/draft" as const;
  // The page may be closed while it is on its way.
  const keepalive = true;
  return done(
    choice ? api.PUT(path, { params, body: choice, keepalive }) : api.DELETE(path, { params, keepalive }),
  );
}

export function useProfiles() {
  return useQuery({ queryKey: PROFILES, queryFn: () => done(api.GET("/api/v1/profiles")) });
}

/** Adds, changes and removes profiles. */
export function useProfiling() {
  const client = useQueryClient();
  const onSuccess = () => client.invalidateQueries({ queryKey: PROFILES });
  const add = useMutation({
    mutationFn: (body: { name: string; choice: Choice }) => done(api.POST("/api/v1/profiles", { body })),
    onSuccess,
  });
  const set = useMutation({
    mutationFn: ({ id, ...body }: { id: number; name: string; choice: Choice }) =>
      done(api.PUT("/api/v1/profiles/{id}", { params: { path: { id } }, body })),
    onSuccess,
  });
  const remove = useMutation({
    mutationFn: (id: number) => done(api.DELETE("/api/v1/profiles/{id}", { params: { path: { id } } })),
    onSuccess,
  });
  return { add, set, remove };
}

/** The policy in force and all profiles. */
export function exported(): Promise<PolicyFile> {
  return done(api.GET("/api/v1/hosts/{host}/export", { params }));
}

export function useImport() {
  const client = useQueryClient();
  return useMutation({
    mutationFn: (body: PolicyFile) => done(api.POST("/api/v1/hosts/{host}/import", { params, body })),
    onSuccess: () => client.invalidateQueries({ queryKey: PROFILES }),
  });
}
