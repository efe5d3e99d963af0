// The page: whoever has a session sees the host, everybody else how to get one.

import { Redirect, Route, Switch, useRoute } from "wouter";
import { Refused } from "./api/client";
import { LiveProvider } from "./api/live";
import { useSession } from "./api/session";
import { ChoosePassword } from "./pages/ChoosePassword";
import { Evidence } from "./pages/Evidence";
import { First } from "./pages/First";
import { History } from "./pages/History";
import { Hosts } from "./pages/Hosts";
import { Live } from "./pages/Live";
import { Log } from "./pages/Log";
import { Policy } from "./pages/Policy";
import { Bans, Exemptions } from "./pages/Records";
import { Report } from "./pages/Report";
import { Settings } from "./pages/Settings";
import { SignIn } from "./pages/SignIn";
import { Travel } from "./pages/Travel";
import { Frame } from "./parts/Frame";
import { Failure } from "./parts/Notice";
import { Proof } from "./parts/Proof";
import { useWords } from "./words";

export function App() {
  const { words } = useWords();
  const session = useSession();
  const [travels] = useRoute("/travel");
  if (travels) return <Travel />;
  if (session.isPending) return <p className="alone quiet">{words.common.loading}</p>;
  const problem = session.error instanceof Refused ? session.error.problem : undefined;
  if (problem?.type === "urn:geofilter:session")
    return (
      <Switch>
        <Route path="/first">{() => <First />}</Route>
        <Route>{() => (problem.first ? <p className="alone">{words.first.needed}</p> : <SignIn />)}</Route>
      </Switch>
    );
  if (!session.data)
    return (
      <div className="alone">
        <Failure error={session.error} again={() => session.refetch()} />
      </div>
    );
  if (session.data.choose_password)
    return (
      <>
        <ChoosePassword />
        <Proof />
      </>
    );
  // An operator of one organisation sees its hosts, and nothing of the portal's own.
  if (session.data.tenant)
    return (
      <>
        <Frame own>
          <Switch>
            <Route path="/hosts" component={Hosts} />
            <Route path="/report" component={Report} />
            <Route path="/settings" component={Settings} />
            <Route>
              <Redirect to="/hosts" replace />
            </Route>
          </Switch>
        </Frame>
        <Proof />
      </>
    );
  return (
    <LiveProvider>
      <Frame>
        <Switch>
          <Route path="/" component={Policy} />
          <Route path="/history" component={History} />
          <Route path="/live" component={Live} />
          <Route path="/log" component={Log} />
          <Route path="/exemptions" component={Exemptions} />
          <Route path="/bans" component={Bans} />
          <Route path="/evidence" component={Evidence} />
          <Route path="/hosts" component={Hosts} />
          <Route path="/report" component={Report} />
          <Route path="/settings" component={Settings} />
          <Route>
            <Redirect to="/" replace />
          </Route>
        </Switch>
      </Frame>
      <Proof />
    </LiveProvider>
  );
}
