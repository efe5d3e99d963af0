// A text that a click copies.

import { useEffect, useState } from "react";
import { useWords } from "../words";

export function Copied({ text }: { text: string }) {
  const { words } = useWords();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    const timer = copied ? setTimeout(() => setCopied(false), 1_500) : undefined;
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = () => navigator.clipboard.writeText(text).then(() => setCopied(true));
  return (
    <button type="button" className="plain address" title={words.common.copy} onClick={copy}>
      {copied ? words.common.copied : text}
    </button>
  );
}
