// The API, typed by what the portal itself says of it (`npm run api`).

import createClient, { type Middleware } from "openapi-fetch";
import { proving } from "./proof";
import type { components, paths } from "./schema";

type Schemas = components["schemas"];
export type Session = Schemas["Session"];
export type Status = Schemas["Status"];
export type Preview = Schemas["Preview"];
export type Change = Schemas["Change"];
export type Changed = Schemas["Changed"];
export type LogEntry = Schemas["LogEntry"];
export type Records = Schemas["Records"];
export type RecordReport = Schemas["RecordReport"];
export type Why = Schemas["Why"];
export type Countries = Schemas["Countries"];
export type Mode = Schemas["Mode"];
export type Risk = Schemas["Risk"];
export type Role = Schemas["Role"];
export type Reason = Schemas["Reason"];
export type NewRecipient = Schemas["NewRecipient"];
export type Occasion = Schemas["Occasion"];
export type Problem = Schemas["Problem"];
export type Series = Schemas["Series"];
export type PastPolicy = Schemas["PastPolicy"];
export type Policy = Schemas["Policy"];
export type Choice = Schemas["PolicyChoice"];
export type Fleet = Schemas["Fleet"];
export type FleetReport = Schemas["FleetReport"];
export type FleetSettings = Schemas["FleetSettings"];
export type TenantReport = Schemas["TenantReport"];
export type Rollouts = Schemas["Rollouts"];
export type RolloutReport = Schemas["RolloutReport"];
export type SharedBan = Schemas["SharedBan"];
export type SharedBans = Schemas["SharedBans"];
export type Written = Schemas["WrittenDraft"];
export type Profile = Schemas["ProfileReport"];
export type PolicyFile = Schemas["PolicyFile"];

/** What was not done, and why: `problem` is what the portal said of it. */
export class Refused extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

let csrf = "";

/** After so many milliseconds without a hand on it nobody is at the page: what it asks by itself keeps no session. */
const ATTENDED = 5 * 60_000;
let touched = Date.now();
for (const touch of ["pointerdown", "keydown"])
  addEventListener(
    touch,
    () => {
      touched = Date.now();
    },
    { capture: true, passive: true },
  );

const token: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET" && csrf) request.headers.set("x-csrf-token", csrf);
    if (Date.now() - touched > ATTENDED) request.headers.set("x-geofilter-unattended", "1");
    return request;
  },
};

export const api = createClient<paths>();
api.use(token, proving);

/** Repeats the token of this session in whatever changes something. */
export function repeat(session: Session): Session {
  csrf = session.csrf;
  return session;
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer, or the reason why there is none. */
export async function done<T>(asked: Promise<Answer<T>>): Promise<T> {
  const { data, error, response } = await asked;
  if (response.ok) return data as T;
  throw new Refused(isProblem(error) ? error : unknown(response));
}

function isProblem(error: unknown): error is Problem {
  return typeof error === "object" && error !== null && "detail" in error && "type" in error;
}

function unknown(response: Response): Problem {
  return {
    type: "urn:geofilter:failed",
    status: response.status,
    title: response.statusText,
    detail: `${response.status} ${response.statusText}`,
  };
}
