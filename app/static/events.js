const TERMINAL = new Set(["completed", "failed", "cancelled", "expired"]);

// The events of a job until it has ended, resumed after a cut connection. Not EventSource: it cannot carry a key.
export async function* events(path, headers) {
  let last = null;
  for (;;) {
    const answer = await fetch(path, { headers: { ...headers, ...(last && { "Last-Event-ID": last }) } });
    if (!answer.ok) throw new Error(`events: ${answer.statusText}`);
    let text = "";
    try {
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        text += part.value;
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          const fields = Object.fromEntries(text.slice(0, end).split("\n").map((line) => line.split(/: (.*)/s, 2)));
          text = text.slice(end + 2);
          if (!fields.data) continue;
          last = fields.id;
          const event = JSON.parse(fields.data);
          yield event;
          if (TERMINAL.has(event.kind)) return;
        }
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // a cut connection is resumed
    }
    await new Promise((resume) => setTimeout(resume, 500));
  }
}
