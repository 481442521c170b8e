// A real provider of OpenID Connect, for the tests: anybody may log in by any name; the part before the first dot of
// the name is the group they are in.
import { createRequire } from 'node:module';
import { createServer } from 'node:http';
import { pathToFileURL } from 'node:url';

const require = createRequire(pathToFileURL(`${process.argv[2]}/`));
const { default: Provider } = await import(pathToFileURL(require.resolve('oidc-provider')));

const server = createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'watchpost',
    client_secret: 'a secret of the tests: with / and +',
    // Where Watchpost listens isn't known yet.
    redirect_uris: ['http://127.0.0.1/login/single-sign-on/callback'],
    application_type: 'native',
  }],
  pkce: { required: () => true, methods: ['S256'] },
  // With "in-token" as argument, claims are in the ID token; otherwise only where people are asked about.
  conformIdTokenClaims: process.argv[3] !== 'in-token',
  claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, email: `${id}@example.com`, groups: ['everybody', id.split('.')[0]] }),
  }),
  cookies: { keys: ['a key of the tests'] },
});
server.on('request', provider.callback());
console.log(`ISSUER ${issuer}`);
