"""Queries on resource policies. Writers hold the lock on their function (`functions.lock`)."""

from __future__ import annotations

import msgspec
from sqlalchemy import bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.domain.arns import Home
from shared.domain.policy_documents import DEFAULT_ID, VERSION, PolicyDocument, RawStatement
from shared.registry.functions import new_revision_id
from shared.registry.tables import FUNCTION_NAMED, FunctionTable, PolicyTable

Statement = RawStatement
_ONE = (
    select(PolicyTable.statements, PolicyTable.revision_id, PolicyTable.document_version, PolicyTable.document_id)
    .join(FunctionTable, FunctionTable.id == PolicyTable.function_id)
    .where(FUNCTION_NAMED, PolicyTable.qualifier == bindparam("qualifier"))
)


class Policy(msgspec.Struct, frozen=True):
    """A policy as it is attached. statements: as they were written, never empty. revision_id: its own, new with every write.

    version, policy_id: the document's, None where its author left them out.
    """

    statements: tuple[Statement, ...]
    revision_id: str
    version: str | None = VERSION
    policy_id: str | None = DEFAULT_ID

    @property
    def document(self) -> PolicyDocument:
        return PolicyDocument(self.version, self.policy_id, self.statements)


async def find(connection: AsyncConnection, home: Home, name: str, qualifier: str) -> Policy | None:
    """The policy of a function by name; qualifier is `$LATEST` for the function's own."""
    row = (await connection.execute(_ONE, {"region": home.region, "name": name, "qualifier": qualifier})).first()
    return None if row is None else Policy(tuple(row[0]), *row[1:])


async def put(connection: AsyncConnection, function_id: str, qualifier: str, document: PolicyDocument) -> str:
    """Writes a policy in place of the one that there was; its new RevisionId."""
    revision_id = new_revision_id()
    values = {
        "statements": list(document.statements),
        "revision_id": revision_id,
        "document_version": document.version,
        "document_id": document.policy_id,
    }
    await connection.execute(
        insert(PolicyTable)
        .values(function_id=function_id, qualifier=qualifier, **values)
        .on_conflict_do_update(index_elements=[PolicyTable.function_id, PolicyTable.qualifier], set_=values)
    )
    return revision_id


async def remove(connection: AsyncConnection, function_id: str, qualifier: str) -> None:
    await connection.execute(
        delete(PolicyTable).where(PolicyTable.function_id == function_id, PolicyTable.qualifier == qualifier)
    )
