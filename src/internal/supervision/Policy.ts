/** Run-time checks of failure policies. */
import * as Failure from "../../Failure.ts"
import * as Input from "../Input.ts"

/** Returns the policy. Throws `InputError` if it was given but not created by `Failure`. */
export const check = <F extends Failure.Policy<never, unknown>>(
  where: string,
  policy: F | undefined
): F | undefined => {
  if (policy !== undefined && !Failure.isPolicy(policy)) {
    const expected = "Failure.log, Failure.restart(options), Failure.escalate or Failure.handle(f)"
    throw new Input.InputError({ where, input: "onFailure", expected, actual: policy })
  }
  return policy
}

/** Whether a failure that persists finally fails the service. */
export const escalates = (policy: Failure.Policy<never, unknown>): boolean =>
  (policy._tag === "Restart" || policy._tag === "Retry" ? policy.onExhausted : policy)._tag === "Escalate"
