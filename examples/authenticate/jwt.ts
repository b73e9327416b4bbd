import { createPublicKey } from "node:crypto";
import { Code, ConnectError } from "hawser";
import type { Authenticate, Authentication } from "hawser/server";
import { errors, type JWTVerifyGetKey, jwtVerify } from "jose";

/** Which tokens are accepted. */
export interface JwtOptions {
  /** The public key of the tokens' issuer, as PEM; or where its keys are found: `createRemoteJWKSet(url)` of jose. */
  readonly key: string | JWTVerifyGetKey;
  /** The `iss` that tokens must have. Default: any. */
  readonly issuer?: string;
  /** The `aud` that tokens must have. Default: any. */
  readonly audience?: string;
}

/** How many verified tokens are kept; the oldest are dropped first. */
const KEPT_TOKENS = 10_000;

/**
 * Makes the option `authenticate` of a server: who sends `authorization: Bearer TOKEN`, with a valid JSON Web Token, is the
 * token's subject. A signature costs more than a call: a token is verified once, and then known until it expires.
 */
export function authenticateByJwt({ key, issuer, audience }: JwtOptions): Authenticate {
  const keys = typeof key === "string" ? createPublicKey(key) : key;
  const wanted = { ...(issuer && { issuer }), ...(audience && { audience }) };
  const known = new Map<string, Authentication>();

  const verify = async (token: string): Promise<Authentication> => {
    // jose takes a key, or a function that finds it, by two overloads.
    const { payload } = await (typeof keys === "function"
      ? jwtVerify(token, keys, wanted)
      : jwtVerify(token, keys, wanted)
    ).catch((error: unknown) => {
      throw refusal(error);
    });
    const { sub, exp } = payload;
    if (sub === undefined) throw refused("the token has no subject (sub)");
    if (exp === undefined) return { identity: sub };
    const verified = { identity: sub, expiresAt: new Date(exp * 1000) };
    known.set(token, verified);
    const [oldest = token] = known.size > KEPT_TOKENS ? known.keys() : [];
    if (oldest !== token) known.delete(oldest);
    return verified;
  };

  return ({ header }) => {
    const [, token] = /^Bearer ([\w.-]+)$/i.exec(header.get("authorization") ?? "") ?? [];
    if (token === undefined) throw refused("this server needs authorization: Bearer TOKEN");
    const verified = known.get(token);
    if (verified?.expiresAt !== undefined && verified.expiresAt.getTime() > Date.now()) {
      return verified;
    }
    known.delete(token);
    return verify(token);
  };
}

/** The codes of jose if the issuer's keys cannot be had. */
const OURS = ["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC"];

/** Says what is wrong with a token. What is wrong with this server, or with the issuer's, is not the caller's fault. */
function refusal(error: unknown): ConnectError {
  if (error instanceof errors.JWTExpired) return refused("the token has expired");
  if (error instanceof errors.JWTClaimValidationFailed) return refused(error.message);
  const isOurs = !(error instanceof errors.JOSEError) || OURS.includes(error.code);
  if (isOurs) {
    return new ConnectError("tokens cannot be verified now", Code.Unavailable, {}, [], error);
  }
  return refused("the token is not valid");
}

function refused(why: string): ConnectError {
  return new ConnectError(why, Code.Unauthenticated);
}
