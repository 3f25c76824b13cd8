// A SCIM client on SCIMMY: its message classes make the requests, its schema classes read every answer strictly (they throw at
// a type, a missing attribute or a keyword that RFC 7643 does not have), and its own PATCH tells beforehand what a PATCH will do.
import assert from 'node:assert/strict';
import SCIMMY from 'scimmy';

const { Messages, Schemas, Types } = SCIMMY;
const mediaType = 'application/scim+json';

Schemas.User.extend(Schemas.EnterpriseUser);

export class Client {
  constructor(base, token) {
    this.base = base;
    this.headers = { authorization: `Bearer ${token}`, accept: mediaType };
  }

  // Sends one request and returns the body. Any other status than the one expected is an error.
  async send(method, path, { body, status = 200, headers = {} } = {}) {
    const answer = await fetch(this.base + path, {
      method,
      headers: { ...this.headers, ...(body && { 'content-type': mediaType }), ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    assert.equal(answer.status, status, `${method} ${path}: ${text}`);
    if (text) assert.equal(answer.headers.get('content-type'), mediaType, `${method} ${path}`);
    this.etag = answer.headers.get('etag');
    this.location = answer.headers.get('location');
    return text ? JSON.parse(text) : undefined;
  }

  // Sends a request that has to be refused, and reads the error.
  async refused(method, path, { status, scimType, ...rest }) {
    const body = await this.send(method, path, { status, ...rest });
    assert.deepEqual(body.schemas, [Messages.Error.id]);
    // Without its schema SCIMMY checks an error, with it SCIMMY throws it.
    const error = new Messages.Error({ ...body, schemas: [] });
    assert.equal(body.status, String(status));
    assert.equal(error.scimType, scimType, error.detail);
    assert.ok(error.detail);
  }

  async list(Schema, path, query = {}) {
    const parameters = new URLSearchParams(query).toString();
    return readList(Schema, await this.send('GET', parameters ? `${path}?${parameters}` : path));
  }

  async search(Schema, path, query) {
    return readList(Schema, await this.send('POST', `${path}/.search`, { body: new Messages.SearchRequest().prepare(query) }));
  }

  async create(Schema, path, resource) {
    const created = read(Schema, await this.send('POST', path, { body: asRequest(Schema, resource), status: 201 }));
    assert.equal(created.meta.location, this.location);
    assert.equal(this.location, `${this.base}${path}/${created.id}`);
    return created;
  }

  // Sends a PATCH and compares the resource with what SCIMMY's own PATCH makes of the one before.
  async patch(Schema, path, operations, { status = 200 } = {}) {
    const before = new Schema(await this.send('GET', path), 'in');
    const body = { schemas: [Messages.PatchOp.id], Operations: operations };
    const expected = (await new Messages.PatchOp(body).apply(before)) ?? before;
    await this.send('PATCH', path, { body, status });
    const after = read(Schema, await this.send('GET', path));
    assert.deepEqual(attributesOf(new Schema(after, 'in')), attributesOf(expected), JSON.stringify(operations));
    return after;
  }
}

// Reads a resource and makes sure that the reader has understood all of it.
export function read(Schema, resource) {
  const understood = plain(new Schema(resource, 'out', undefined));
  for (const name of Object.keys(resource)) {
    if (name !== 'meta') assert.deepEqual(understood[name], resource[name], `${name} of ${JSON.stringify(resource)}`);
  }
  assert.ok(resource.id, 'no id');
  assert.equal(resource.meta.resourceType, Schema.definition.name);
  for (const time of ['created', 'lastModified']) assert.ok(!Number.isNaN(Date.parse(resource.meta[time])), time);
  return resource;
}

function readList(Schema, body) {
  const list = new Messages.ListResponse(body);
  assert.ok(list.Resources.length <= list.totalResults);
  assert.equal(list.itemsPerPage, list.Resources.length);
  if (Schema) list.Resources.forEach((resource) => read(Schema, resource));
  return list;
}

// Reads the schemas that the server says it has: names, types, mutability, returned and uniqueness are SCIMMY's to check.
export function readSchemas(documents) {
  const attribute = ({ type, name, subAttributes = [], ...config }) => {
    const { multiValued, description, required, canonicalValues, caseExact, mutability, returned, uniqueness, referenceTypes } = config;
    const characteristics = { multiValued, description, required, canonicalValues, caseExact, mutable: mutability, returned, uniqueness, referenceTypes };
    return new Types.Attribute(type, name, strip(characteristics), subAttributes.map(attribute));
  };
  for (const { name, id, description, attributes } of documents) {
    const read = attributes.map(attribute);
    // SCIMMY takes schemas of the IETF's namespace only.
    if (id.startsWith('urn:ietf:params:scim:schemas:')) new Types.SchemaDefinition(name, id, description, read);
  }
}

function strip(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

function asRequest(Schema, resource) {
  return plain(new Schema(resource, 'in'));
}

function plain(value) {
  return JSON.parse(JSON.stringify(value));
}

function attributesOf(resource) {
  const { meta, id, groups, schemas, ...attributes } = plain(resource);
  return attributes;
}
