import { Greeter } from "../../gen/example/greeter_pb.js";

/** SayHello as a method that says of itself that calling it twice does no harm. */
export function idempotent() {
  const method = Object.create(Greeter.method.sayHello, {
    idempotency: { value: 2, enumerable: true },
  }) as typeof Greeter.method.sayHello;
  const service = Object.create(Greeter, {
    methods: { value: [method] },
    method: { value: { sayHello: method } },
  }) as typeof Greeter;
  return { method, service };
}
