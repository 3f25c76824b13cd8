// Provisions through a running server as an identity provider would. Arguments: users, groups or discovery. The base URL and
// the token come from SCIM_BASE and SCIM_TOKEN. The first thing that is not as the client expects ends the process with 1.
import assert from 'node:assert/strict';
import SCIMMY from 'scimmy';
import { Client, read, readSchemas } from './client.mjs';

const { Messages, Schemas } = SCIMMY;
const client = new Client(process.env.SCIM_BASE, process.env.SCIM_TOKEN);
const enterprise = Schemas.EnterpriseUser.definition.id;

function person(name) {
  return {
    schemas: [Schemas.User.definition.id, enterprise],
    userName: `${name}@example.com`,
    externalId: `external-${name}`,
    name: { givenName: name, familyName: 'Client' },
    displayName: `${name} Client`,
    emails: [{ value: `${name}@example.com`, type: 'work', primary: true }, { value: `${name}@example.org`, type: 'home' }],
    active: true,
    [enterprise]: { department: 'Platform', employeeNumber: '701984' },
  };
}

const conversations = {
  async discovery() {
    const config = await client.send('GET', '/ServiceProviderConfig');
    for (const feature of ['patch', 'bulk', 'filter', 'changePassword', 'sort', 'etag']) assert.equal(typeof config[feature].supported, 'boolean', feature);
    assert.ok(config.authenticationSchemes.length > 0);
    const types = await client.list(undefined, '/ResourceTypes');
    const documents = await client.list(undefined, '/Schemas');
    readSchemas(documents.Resources);
    const known = new Set(documents.Resources.map(({ id }) => id));
    for (const type of types.Resources) {
      assert.ok(known.has(type.schema), `${type.name}: no schema ${type.schema}`);
      for (const { schema } of type.schemaExtensions ?? []) assert.ok(known.has(schema), `${type.name}: no schema ${schema}`);
      await client.list(undefined, type.endpoint, { count: 1 });
    }
    for (const id of known) assert.equal((await client.send('GET', `/Schemas/${encodeURIComponent(id)}`)).id, id);
  },

  async users() {
    const { User } = Schemas;
    const nobody = await client.list(User, '/Users', { filter: 'userName eq "grace@example.com"' });
    assert.equal(nobody.totalResults, 0);
    const grace = await client.create(User, '/Users', person('grace'));
    const path = `/Users/${grace.id}`;
    await client.refused('POST', '/Users', { body: { ...person('grace'), externalId: 'somebody-else' }, status: 409, scimType: 'uniqueness' });

    for (const filter of ['userName eq "GRACE@example.com"', 'externalId eq "external-grace"', 'emails[type eq "home" and value ew "example.org"]',
      `${enterprise}:department eq "platform" and active eq true`, `id eq "${grace.id}"`]) {
      assert.deepEqual((await client.list(User, '/Users', { filter })).Resources.map(({ id }) => id), [grace.id], filter);
      assert.deepEqual((await client.search(User, '/Users', { filter })).Resources.map(({ id }) => id), [grace.id], filter);
    }
    await client.refused('GET', `/Users?filter=${encodeURIComponent('userName regex "g"')}`, { status: 400, scimType: 'invalidFilter' });

    await client.patch(User, path, [{ op: 'replace', path: 'name.familyName', value: 'Hopper' }, { op: 'add', path: 'title', value: 'Rear Admiral' }]);
    await client.patch(User, path, [{ op: 'replace', value: { displayName: 'Grace Hopper', nickName: 'Amazing Grace' } }]);
    await client.patch(User, path, [{ op: 'replace', path: 'emails[type eq "work"].value', value: 'hopper@example.com' }]);
    await client.patch(User, path, [{ op: 'remove', path: 'emails[type eq "home"]' }, { op: 'remove', path: 'nickName' }]);
    await client.patch(User, path, [{ op: 'add', path: `${enterprise}:costCenter`, value: '4130' }]);
    await client.refused('PATCH', path, { body: { schemas: [Messages.PatchOp.id], Operations: [{ op: 'remove', path: 'userName' }] }, status: 400, scimType: 'mutability' });

    const before = read(User, await client.send('GET', path));
    const etag = client.etag;
    assert.equal(etag, before.meta.version);
    await client.send('GET', path, { status: 304, headers: { 'if-none-match': etag } });
    const replaced = read(User, await client.send('PUT', path, { body: { ...before, title: 'Commodore' }, headers: { 'if-match': etag } }));
    assert.equal(replaced.title, 'Commodore');
    await client.refused('PUT', path, { body: before, headers: { 'if-match': etag }, status: 412 });

    const off = await client.patch(User, path, [{ op: 'replace', value: { active: false } }]);
    assert.equal(off.active, false);
    assert.equal((await client.list(User, '/Users', { filter: 'active eq false' })).totalResults, 1);
    const back = await client.create(User, '/Users', person('grace'));
    assert.deepEqual([back.id, back.active], [grace.id, true]);
    await client.send('DELETE', path, { status: 204 });
    await client.refused('GET', path, { status: 404 });
    const again = await client.create(User, '/Users', person('grace'));
    assert.notEqual(again.id, grace.id);
    await client.send('DELETE', `/Users/${again.id}`, { status: 204 });
  },

  async pages() {
    const { User } = Schemas;
    const names = Array.from({ length: 7 }, (_, i) => `page${i}`);
    const operations = names.map((name) => ({ method: 'POST', path: '/Users', bulkId: name, data: person(name) }));
    const body = { schemas: ['urn:ietf:params:scim:api:messages:2.0:BulkRequest'], Operations: operations };
    new Messages.BulkRequest(body);
    const answer = new Messages.BulkResponse(await client.send('POST', '/Bulk', { body }));
    assert.deepEqual(answer.Operations.map(({ status, bulkId }) => [status, bulkId]), names.map((name) => ['201', name]));
    const wanted = answer.Operations.map(({ location }) => location.split('/').at(-1)).sort();

    const filter = 'userName sw "page"';
    const indexed = [];
    for (let startIndex = 1; ; startIndex += 3) {
      const page = await client.list(User, '/Users', { filter, sortBy: 'userName', sortOrder: 'descending', startIndex, count: 3 });
      assert.equal(page.totalResults, names.length);
      if (page.Resources.length === 0) break;
      indexed.push(...page.Resources);
    }
    assert.deepEqual(indexed.map(({ userName }) => userName), names.map((name) => `${name}@example.com`).reverse());
    assert.deepEqual(indexed.map(({ id }) => id).sort(), wanted);

    const followed = [];
    for (let cursor = ''; cursor !== undefined;) {
      const page = await client.send('GET', `/Users?${new URLSearchParams({ filter, count: 2, cursor })}`);
      followed.push(...page.Resources.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    assert.deepEqual(followed.sort(), wanted);
    for (const id of wanted) await client.send('DELETE', `/Users/${id}`, { status: 204 });
  },

  async groups() {
    const { User, Group } = Schemas;
    const people = [];
    for (const name of ['ada', 'alan', 'alonzo']) people.push(await client.create(User, '/Users', person(name)));
    const [ada, alan, alonzo] = people.map(({ id }) => id);
    const membersOf = async () => (await client.send('GET', path)).members?.map(({ value }) => value).sort() ?? [];

    const group = await client.create(Group, '/Groups', { displayName: 'Pioneers', members: [{ value: ada }] });
    const path = `/Groups/${group.id}`;
    await client.refused('POST', '/Groups', { body: { schemas: [Group.definition.id], displayName: 'pioneers' }, status: 409, scimType: 'uniqueness' });
    const change = async (...operations) => {
      await client.send('PATCH', path, { body: new Messages.PatchOp({ schemas: [Messages.PatchOp.id], Operations: operations }), status: 204 });
      return membersOf();
    };
    assert.deepEqual(await membersOf(), [ada]);
    assert.deepEqual(await change({ op: 'add', path: 'members', value: [{ value: alan }, { value: alonzo }] }), [ada, alan, alonzo].sort());
    assert.deepEqual(await change({ op: 'remove', path: `members[value eq "${ada}"]` }), [alan, alonzo].sort());
    assert.deepEqual(await change({ op: 'replace', path: 'members', value: [{ value: ada }] }), [ada]);
    assert.deepEqual(await change({ op: 'replace', value: { displayName: 'Founders' } }), [ada]);
    for (const filter of ['displayName eq "FOUNDERS"', `members[value eq "${ada}"]`, `id eq "${group.id}" and members eq "${ada}"`]) {
      assert.deepEqual((await client.list(undefined, '/Groups', { filter, excludedAttributes: 'members' })).Resources.map(({ id, members }) => [id, members]), [[group.id, undefined]], filter);
    }
    assert.deepEqual((await client.send('GET', `/Users/${ada}`)).groups.map(({ value }) => value), [group.id]);
    await client.send('DELETE', `/Users/${ada}`, { status: 204 });
    assert.deepEqual(await membersOf(), []);
    await client.send('DELETE', path, { status: 204 });
    await client.refused('GET', path, { status: 404 });
    for (const id of [alan, alonzo]) await client.send('DELETE', `/Users/${id}`, { status: 204 });
  },
};

for (const name of process.argv.slice(2)) {
  await conversations[name]();
  console.log(`${name}: done`);
}
