// A message as a command, and as a test of the application that sent it.

export function asCurl(record) {
  const quoted = `'${record.text.replaceAll("'", "'\\''")}'`;
  const path = record.path.endsWith("/batch") || record.path.endsWith("/b") ? "/v1/track" : record.path;
  return `curl -u inspector: -H 'Content-Type: application/json' ${location.origin}${path} -d ${quoted}`;
}

export function asTest(record) {
  const message = JSON.parse(record.text);
  const properties = message.properties ?? {};
  const name = String(properties.exceptionType ?? message.event ?? "message").replace(/\W+/g, "_").toLowerCase();
  const checks = [["event"], ["userId"], ["properties", "exceptionType"], ["properties", "transaction"]]
    .map((path) => [path.map((key) => `["${key}"]`).join(""), path.reduce((at, key) => at?.[key], message)])
    .filter(([, value]) => typeof value === "string")
    .map(([path, value]) => `    assert message${path} == ${JSON.stringify(value)}\n`);
  return (
    `def test_${name}_is_mirrored(segment_messages):\n` +
    `    ...  # what your application does for this to happen\n` +
    `    [message] = segment_messages\n${checks.join("")}`
  );
}
