// Answers what two independent libraries make of filters and PATCH requests: one JSON document a line in, one a line out,
// in the same order. What cannot be read is answered with an error's name; only a broken input line ends the process.
import { createInterface } from 'node:readline';
import filters from 'scim2-parse-filter';
import patches from 'scim-patch';

const judges = {
  // Does the resource match?
  filter: ({ filter, resource }) => ({ match: filters.filter(filters.parse(filter))(resource) }),
  // What is the resource afterwards?
  patch({ operations, resource }) {
    patches.patchBodyValidation({ schemas: [patches.PATCH_OPERATION_SCHEMA], Operations: operations });
    return { resource: patches.scimPatch(resource, operations, { mutateDocument: false, treatMissingAsAdd: false }) };
  },
};

function answer(line) {
  const question = JSON.parse(line);
  const judge = judges[question.kind];
  if (!judge) throw new Error(`no judge for ${question.kind}`);
  try {
    return judge(question);
  } catch (error) {
    return { error: error.scimCode ?? error.name, detail: error.message };
  }
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  if (!process.stdout.write(JSON.stringify(answer(line)) + '\n')) {
    await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}
