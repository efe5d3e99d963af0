// A country as a chip: its code, and its name for whoever points at it or listens.

import { useWords } from "../words";

export function Code({ code }: { code: string }) {
  const { country } = useWords();
  return (
    <abbr className="code" title={country(code)}>
      {code}
    </abbr>
  );
}
