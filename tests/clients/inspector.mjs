// The Inspector's command line, a process for each request: `inspector.mjs URL legacy|auto`, INSPECTOR names its script.
//
// It shows no progress and cancels nothing, but knows which tool schemas other clients stumble over.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { promisify } from 'node:util';

const [url, era] = process.argv.slice(2);
const ERAS = { legacy: '2025-11-25', auto: '2026-07-28' };
const TOOLS = ['store_memory', 'semantic_search', 'test_error_handling', 'test_tool_with_progress', 'test_slow'];

function check(name, holds, detail) {
  if (!holds) {
    console.log(`FAILED ${name}: ${JSON.stringify(detail)}`);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}

// Its exit code and what it printed; a tool that failed is a result and an exit code other than 0.
async function ask(method, ...more) {
  const target = ['--cli', url, '--transport', 'http', '--protocol-era', era, '--format', 'json', '--quiet'];
  const run = promisify(execFile)(process.execPath, [process.env.INSPECTOR, ...target, '--method', method, ...more], {
    timeout: 20_000,
    maxBuffer: 1 << 24,
  });
  const { code = 0, stdout, stderr } = await run.catch((error) => error);
  return { code, result: stdout ? JSON.parse(stdout).result : undefined, stderr };
}

const call = (tool, args) => ask('tools/call', '--tool-name', tool, '--tool-args-json', JSON.stringify(args));

const opened = await ask('initialize');
check('era', opened.result?.protocolVersion === ERAS[era], opened);
const listed = await ask('tools/list', '--strict');
const names = listed.result?.tools.map(({ name }) => name) ?? [];
check('list tools', TOOLS.every((name) => names.includes(name)), listed.stderr || names);
check('schemas', listed.code === 0, listed.stderr);

const mark = randomUUID();
const stored = await call('store_memory', { content: `The kettle is green ${mark}` });
const found = await call('semantic_search', { query: `kettle ${mark}`, limit: 5 });
const first = found.result?.structuredContent.hits[0];
check('call', stored.code === 0 && first && first.id === stored.result.structuredContent.id, [stored, found]);

// A tool that is not listed it does not even ask for.
const failed = await call('test_error_handling', {});
const bad = await call('store_memory', { text: 'x' });
const refused = bad.result?.isError && bad.result.structuredContent.code === 'INVALID_ARGUMENTS';
check('errors', failed.result?.isError && failed.code !== 0 && refused, [failed, bad]);

const resources = await ask('resources/list');
const { uri } = resources.result?.resources[0] ?? {};
const read = await ask('resources/read', '--uri', uri);
const unknown = await ask('resources/read', '--uri', 'test://no-such-resource');
const right = uri && read.result?.contents[0].uri === uri && unknown.code !== 0 && unknown.result === undefined;
check('resources', right, [resources, read, unknown]);
