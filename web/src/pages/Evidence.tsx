// What came of it: attempts that the PBX logged, day by day, without a policy and with one.

import { useEvidence } from "../api/host";
import { Code } from "../parts/Code";
import { Compared } from "../parts/Compared";
import { Loaded, Warnings } from "../parts/Notice";
import { useWords } from "../words";

/** Seconds for which a policy must have been dropping for a day to count as one with it: 23 hours. */
const MOST_OF_A_DAY = 82_800;
/** Countries of a day that are named. */
const NAMED = 4;

export function Evidence() {
  const { words, number, language } = useWords();
  const evidence = useEvidence();
  const day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeZone: "UTC" });
  return (
    <div className="stack">
      <div className="filters">
        <h1>{words.evidence.title}</h1>
        <button type="button" className="unprinted" onClick={() => window.print()}>
          {words.evidence.print}
        </button>
      </div>
      <p className="quiet">{words.evidence.about}</p>
      <Loaded query={evidence}>
        {({ days, without, with: having, logs, warnings }) => {
          const most = Math.max(1, ...days.map(attempted));
          const looked = days.findIndex((day) => day.watched > 0);
          return (
            <>
              <Warnings of={warnings} />
              <Compared without={without} having={having} say={words.evidence} />
              {days.length === 0 ? (
                <p className="quiet empty">{words.evidence.empty}</p>
              ) : (
                <div className="scrolls">
                  <table>
                    <thead>
                      <tr>
                        <th scope="col">{words.evidence.day}</th>
                        <th scope="col" colSpan={2}>
                          {words.evidence.attempts}
                        </th>
                        <th scope="col">{words.evidence.logins}</th>
                        <th scope="col">{words.evidence.policy}</th>
                        <th scope="col">{words.evidence.countries}</th>
                      </tr>
                    </thead>
                    <tbody>
                      {days.map((of, at) => (
                        <tr key={of.day}>
                          <th scope="row">{day.format(new Date(of.day))}</th>
                          <td className="number">{number(attempted(of))}</td>
                          <td>
                            <meter min={0} max={most} value={attempted(of)} aria-hidden="true" />
                          </td>
                          <td className="number">{number(of.logins)}</td>
                          <td>{policy(of, looked >= 0 && at > looked)}</td>
                          <td>
                            {Object.entries(of.attempts)
                              .sort(([, one], [, other]) => other - one)
                              .slice(0, NAMED)
                              .map(([code, attempts]) => (
                                <span key={code} className="pair">
                                  <Code code={code} /> {number(attempts)}
                                </span>
                              ))}
                          </td>
                        </tr>
                      ))}
                    </tbody>
                  </table>
                </div>
              )}
              {logs.length > 0 && <p className="quiet small">{words.evidence.from(logs.join(", "))}</p>}
            </>
          );
        }}
      </Loaded>
    </div>
  );

  function policy({ enforced, watched }: { enforced: number; watched: number }, looked: boolean): string {
    if (enforced >= MOST_OF_A_DAY) return words.evidence.full;
    if (enforced > 0) return words.evidence.hours(number(Math.round(enforced / 360) / 10));
    return looked && watched < MOST_OF_A_DAY ? words.evidence.unwatched : words.evidence.none;
  }
}

function attempted({ attempts }: { attempts: Record<string, number> }): number {
  return Object.values(attempts).reduce((sum, one) => sum + one, 0);
}
